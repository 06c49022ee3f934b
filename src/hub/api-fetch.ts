// The fetch() with which the library asks the hub's API. It checks the kind and the size of each answer, because the
// library checks neither. Knows nothing of what the answers mean.

import { HubError, InterruptedError } from "../errors.js";
import { errorOfContent, errorOfDeadline, shown } from "./hub-errors.js";
import type { Fetch } from "./hub-fetch.js";
import type { Hub } from "./hub-listing.js";
import { type PaceClock, watchPace } from "./watch-pace.js";

const FIRST_BYTES = 65_536;

/**
 * Makes the fetch() for one request, whose answer may have several pages.
 * @param opens the first character of every page's JSON: of a list or of an object
 */
export function createApiFetch(hub: Hub, opens: "[" | "{"): Fetch {
  const { question, limits } = hub;
  const pages = new Set<string>();
  let bytesLeft = limits.listingBytes;
  return async (input, init) => {
    const { href } = new URL(input instanceof Request ? input.url : input);
    if (pages.has(href)) throw errorOfContent(question, "the listing repeats a page");
    pages.add(href);
    if (pages.size > limits.listingPages) {
      throw errorOfContent(question, `the listing has more than ${limits.listingPages} pages`);
    }
    const { text, bytes, link } = await askPage(hub, href, init, Math.min(bytesLeft, limits.answerBytes));
    bytesLeft -= bytes;
    if (text.trimStart()[0] !== opens) {
      const expected = opens === "[" ? "a list" : "an object";
      throw errorOfContent(question, `expected ${expected} in JSON, found ${shown(text)}`);
    }
    const next = nextPage(hub, href, link);
    return new Response(text, { headers: next === undefined ? {} : { link: `<${next}>; rel="next"` } });
  };
}

interface Page {
  readonly text: string;
  readonly bytes: number;
  readonly link: string;
}

async function askPage(hub: Hub, href: string, init: RequestInit | undefined, maxBytes: number): Promise<Page> {
  const { question, hubFetch, signal, limits } = hub;
  // The time limit is for the whole answer.
  const clock = watchPace(limits.answerMs, Number.POSITIVE_INFINITY);
  clock.wait();
  try {
    const response = await hubFetch(href, { ...init, signal: clock.signal });
    const content = await readBytes(hub, response, maxBytes, clock);
    const link = response.headers.get("link") ?? "";
    return { text: content.toString("utf8"), bytes: content.length, link };
  } catch (cause) {
    if (signal?.aborted) throw new InterruptedError();
    if (clock.signal.aborted) throw errorOfDeadline(question, limits.answerMs);
    if (cause instanceof HubError) throw cause;
    throw errorOfContent(question, "the connection broke in the middle of an answer", cause);
  } finally {
    clock.stop();
  }
}

/**
 * Collects into one block that grows: as a list, an answer in pieces of one byte would take a hundred times its size.
 */
async function readBytes(hub: Hub, response: Response, maxBytes: number, clock: PaceClock): Promise<Buffer> {
  let block = Buffer.alloc(Math.min(FIRST_BYTES, maxBytes));
  let length = 0;
  for await (const chunk of response.body ?? []) {
    clock.arrived(chunk.byteLength);
    const end = length + chunk.byteLength;
    if (end > maxBytes) throw errorOfContent(hub.question, `the answer is larger than ${maxBytes} bytes`);
    if (end > block.length) block = Buffer.concat([block], Math.min(maxBytes, Math.max(end, 2 * block.length)));
    block.set(chunk, length);
    length = end;
    clock.wait();
  }
  return block.subarray(0, length);
}

/** The address of the next page, if there is one. It must be on the endpoint. */
function nextPage({ question }: Hub, href: string, link: string): string | undefined {
  for (const [, target = "", parameters = ""] of link.matchAll(/<([^<>]*)>([^<>]*)/g)) {
    if (!/;\s*rel\s*=\s*"?next\b/i.test(parameters)) continue;
    const next = URL.canParse(target, href) ? new URL(target, href) : undefined;
    if (next?.origin === new URL(href).origin) return next.href;
    throw errorOfContent(question, `expected the listing's next page at the same address, found ${shown(target)}`);
  }
  return undefined;
}
