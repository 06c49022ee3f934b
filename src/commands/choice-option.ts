// An option that takes one of a few names, and says which was meant by another. Knows no option.

import { InvalidArgumentError, Option } from "commander";
import { didYouMean } from "../closest-name.js";

export function choiceOption(flags: string, description: string, names: readonly string[]): Option {
  // `choices` is what the help lists; its own check knows no near names.
  return new Option(flags, description).choices(names).argParser((text: string) => parseChoice(text, names));
}

/** @throws InvalidArgumentError */
function parseChoice(text: string, names: readonly string[]): string {
  if (names.includes(text)) return text;
  throw new InvalidArgumentError(`Allowed choices are ${names.join(", ")}.${didYouMean(text, names)}`);
}
