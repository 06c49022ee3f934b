// Tables for a terminal: as wide as their cells, and never wider than the screen. Columns that do not fit are left out,
// if they are optional, or follow in another table below; a number is never broken over two lines. Pure; knows no
// results.

import type { Screen } from "./screen.js";

export interface Cell {
  readonly text: string;
  /** Colours the cell. */
  readonly paint?: ((text: string) => string) | undefined;
}

export interface Column {
  readonly title: string;
  readonly cells: readonly (Cell | string)[];
  /** Alignment; default: right, for numbers. */
  readonly align?: "left" | "right";
  /** Optional: left out where the screen has no room. */
  readonly isOptional?: boolean;
}

const GAP = "  ";

/**
 * The lines of a table. On a narrow screen the columns go into several tables, each of which begins with the first column.
 * @param paintRow colours a whole row, by its number
 */
export function tableLines(
  columns: readonly Column[],
  { colors, width }: Screen,
  paintRow: (row: number) => ((text: string) => string) | undefined = () => undefined,
): string[] {
  const needed = columns.filter(({ isOptional }) => !isOptional);
  const chosen = widthOf(columns) <= width ? columns : needed;
  return blocksOf(chosen, width).flatMap((block, index) => [
    ...(index === 0 ? [] : [""]),
    colors.bold(lineOf(block.map((column) => padded(column, column.title)))),
    ...(block[0]?.cells ?? []).map((_, row) => {
      const cells = block.map((column) => paddedCell(column, column.cells[row] ?? ""));
      return (paintRow(row) ?? ((line: string) => line))(lineOf(cells));
    }),
  ]);
}

/** Puts columns side by side while there is room; the others go into further tables that repeat the first column. */
function blocksOf([first, ...others]: readonly Column[], width: number): Column[][] {
  if (first === undefined) return [];
  const blocks: Column[][] = [[first]];
  for (const column of others) {
    const block = blocks.at(-1) ?? [];
    if (block.length === 1 || widthOf([...block, column]) <= width) block.push(column);
    else blocks.push([first, column]);
  }
  return blocks;
}

function widthOf(columns: readonly Column[]): number {
  return columns.reduce((sum, column) => sum + columnWidth(column) + GAP.length, -GAP.length);
}

function columnWidth({ title, cells }: Column): number {
  return Math.max(title.length, ...cells.map((cell) => textOf(cell).length));
}

function paddedCell(column: Column, cell: Cell | string): string {
  const text = padded(column, textOf(cell));
  return typeof cell === "string" || cell.paint === undefined ? text : cell.paint(text);
}

function padded(column: Column, text: string): string {
  const width = columnWidth(column);
  return column.align === "left" ? text.padEnd(width) : text.padStart(width);
}

function textOf(cell: Cell | string): string {
  return typeof cell === "string" ? cell : cell.text;
}

function lineOf(cells: readonly string[]): string {
  return cells.join(GAP).trimEnd();
}
