/** Draws a terminal into an element, a line each, and no more often than the browser draws. */
import { type Cell, piecesOf, plain, rowsMax, type Style, type Terminal } from "../model/terminal.ts";

export class Screen {
  readonly #place: HTMLElement;
  #terminal: Terminal | undefined;
  /** The first line that is drawn, and how many of them do not change any more; counted from the first of the terminal. */
  #first = 0;
  #settled = 0;
  #frame = 0;

  constructor(place: HTMLElement) {
    this.#place = place;
  }

  show(terminal: Terminal): void {
    if (terminal !== this.#terminal) {
      this.#terminal = terminal;
      [this.#first, this.#settled] = [0, 0];
      this.#place.replaceChildren();
    }
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#draw(terminal));
  }

  close(): void {
    cancelAnimationFrame(this.#frame);
  }

  #draw(given: Terminal): void {
    this.#frame = 0;
    const terminal = this.#terminal ?? given;
    const place = this.#place;
    const atEnd = place.scrollHeight - place.scrollTop - place.clientHeight < 40;
    const { lines, first, cursor } = terminal;
    for (; this.#first < first; this.#first++) place.firstChild?.remove();
    const from = Math.max(0, this.#settled - first);
    while (place.childNodes.length > from) place.lastChild?.remove();
    const last = lastLine(lines, cursor.row);
    const drawn = lines.slice(from, last + 1);
    place.append(...drawn.map((line, at) => drawLine(line, from + at === cursor.row ? cursor.column : undefined)));
    this.#settled = first + lines.length - rowsMax;
    if (atEnd) place.scrollTop = place.scrollHeight;
  }
}

/** Empty lines below the cursor are not shown. */
function lastLine(lines: readonly (readonly Cell[])[], cursorRow: number): number {
  return Math.max(
    cursorRow,
    lines.findLastIndex((line) => line.length > 0),
  );
}

function drawLine(line: readonly Cell[], cursor: number | undefined): HTMLElement {
  const element = document.createElement("div");
  const cells = cursor === undefined ? line : withRoom(line, cursor);
  const pieces =
    cursor === undefined
      ? piecesOf(cells).map((piece) => drawPiece(piece, ""))
      : [
          ...piecesOf(cells.slice(0, cursor)).map((piece) => drawPiece(piece, "")),
          ...cells.slice(cursor, cursor + 1).map((cell) => drawPiece(cell, " cursor")),
          ...piecesOf(cells.slice(cursor + 1)).map((piece) => drawPiece(piece, "")),
        ];
  element.append(...pieces);
  return element;
}

function withRoom(line: readonly Cell[], cursor: number): readonly Cell[] {
  const missing = Math.max(0, cursor + 1 - line.length);
  return [...line, ...Array.from({ length: missing }, () => ({ text: " ", style: plain }))];
}

function drawPiece({ text, style }: Cell, extra: string): Node {
  if (style === plain && extra === "") return document.createTextNode(text);
  const element = document.createElement("span");
  element.className = classesOf(style) + extra;
  element.textContent = text;
  return element;
}

function classesOf({ foreground, background, bold, inverse }: Style): string {
  const [front, back] = inverse ? [background, foreground] : [foreground, background];
  return [
    front > 0 ? `fg${front - 1}` : inverse ? "fg-back" : "",
    back > 0 ? `bg${back - 1}` : inverse ? "bg-front" : "",
    bold ? "bold" : "",
  ]
    .filter((name) => name !== "")
    .join(" ");
}
