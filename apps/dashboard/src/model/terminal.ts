/**
 * A terminal for a serial console: bytes become lines of text with colours. It knows what consoles of systems without a
 * screen use (cursor, erasing, colours, scroll regions) and leaves the rest out. What a guest sends is text here, and stays text.
 */

/** Colour and weight of a cell, packed: foreground and background (0: default, else colour + 1), bold, inverse. */
export interface Style {
  readonly foreground: number;
  readonly background: number;
  readonly bold: boolean;
  readonly inverse: boolean;
}

export interface Cell {
  readonly text: string;
  readonly style: Style;
}

export const plain: Style = { foreground: 0, background: 0, bold: false, inverse: false };
const blank: Cell = { text: " ", style: plain };

export const columnsMax = 80;
export const rowsMax = 24;
/** Lines that have left the screen at its top. */
export const historyMax = 1_000;
/** A sequence that is longer than this is none. */
const sequenceLengthMax = 256;

type Parser = "text" | "escape" | "csi" | "string" | "charset";

export class Terminal {
  readonly #decoder = new TextDecoder();
  readonly #history: Cell[][] = [];
  #screen: Cell[][] = Array.from({ length: rowsMax }, () => []);
  #row = 0;
  #column = 0;
  #saved = { row: 0, column: 0 };
  #top = 0;
  #bottom = rowsMax - 1;
  #style = plain;
  #parser: Parser = "text";
  #sequence = "";
  /** Lines that have left for good. */
  #gone = 0;

  write(bytes: Uint8Array): void {
    for (const character of this.#decoder.decode(bytes, { stream: true })) this.#take(character);
  }

  /** All lines that there are, oldest first; `first` counts those that went before them. */
  get lines(): readonly (readonly Cell[])[] {
    return [...this.#history, ...this.#screen];
  }

  get first(): number {
    return this.#gone;
  }

  /** In `lines`. */
  get cursor(): { readonly row: number; readonly column: number } {
    return { row: this.#history.length + this.#row, column: this.#column };
  }

  #take(character: string): void {
    switch (this.#parser) {
      case "text":
        this.#text(character);
        break;
      case "escape":
        this.#escape(character);
        break;
      case "charset":
        this.#parser = "text";
        return;
      case "string":
        this.#string(character);
        break;
      case "csi":
        if (character >= "@" && character <= "~") {
          this.#parser = "text";
          this.#csi(character, this.#sequence);
          return;
        }
        this.#sequence += character;
        if (this.#sequence.length > sequenceLengthMax) this.#parser = "text";
        return;
      default:
        this.#parser satisfies never;
    }
  }

  #text(character: string): void {
    switch (character) {
      case "\x1b":
        this.#parser = "escape";
        return;
      case "\r":
        this.#column = 0;
        return;
      case "\n":
      case "\v":
      case "\f":
        // Guests without a line discipline send no return.
        this.#column = 0;
        this.#lineFeed();
        break;
      case "\b":
        this.#column = Math.max(0, Math.min(this.#column, columnsMax) - 1);
        return;
      case "\t":
        this.#column = Math.min(columnsMax - 1, (Math.floor(this.#column / 8) + 1) * 8);
        return;
      default:
        if (character >= " " && character !== "\x7f" && !(character >= "\x80" && character < "\xa0"))
          this.#put(character);
    }
  }

  #put(text: string): void {
    if (this.#column >= columnsMax) {
      this.#column = 0;
      this.#lineFeed();
    }
    const line = this.#line();
    while (line.length < this.#column) line.push(blank);
    line[this.#column++] = { text, style: this.#style };
  }

  #line(): Cell[] {
    const line = this.#screen[this.#row] ?? [];
    this.#screen[this.#row] = line;
    return line;
  }

  #lineFeed(): void {
    if (this.#row === this.#bottom) this.#scroll();
    else this.#row = Math.min(rowsMax - 1, this.#row + 1);
  }

  #scroll(): void {
    const [line = []] = this.#screen.splice(this.#top, 1);
    this.#screen.splice(this.#bottom, 0, []);
    if (this.#top > 0) return;
    this.#history.push(line);
    if (this.#history.length <= historyMax) return;
    this.#history.shift();
    this.#gone++;
  }

  #escape(character: string): void {
    this.#parser = "text";
    this.#sequence = "";
    if (character === "[") this.#parser = "csi";
    else if ("]PX^_".includes(character)) this.#parser = "string";
    else if ("()*+#%".includes(character)) this.#parser = "charset";
    else if (character === "7") this.#saved = { row: this.#row, column: this.#column };
    else if (character === "8") this.#goTo(this.#saved.row, this.#saved.column);
    else if (character === "M") this.#reverseFeed();
    else if (character === "D") this.#lineFeed();
    else if (character === "E") {
      this.#column = 0;
      this.#lineFeed();
    } else if (character === "c") this.#reset();
  }

  /** Titles, links and what else is told to a terminal: up to its end, and into nothing. */
  #string(character: string): void {
    this.#sequence += character;
    const isOver = character === "\x07" || this.#sequence.endsWith("\x1b\\");
    if (isOver || this.#sequence.length > 16 * sequenceLengthMax) this.#parser = "text";
  }

  #reverseFeed(): void {
    if (this.#row > this.#top) {
      this.#row--;
      return;
    }
    this.#screen.splice(this.#bottom, 1);
    this.#screen.splice(this.#top, 0, []);
  }

  #reset(): void {
    this.#screen = Array.from({ length: rowsMax }, () => []);
    [this.#row, this.#column, this.#top, this.#bottom, this.#style] = [0, 0, 0, rowsMax - 1, plain];
  }

  #goTo(row: number, column: number): void {
    this.#row = Math.max(0, Math.min(rowsMax - 1, row));
    this.#column = Math.max(0, Math.min(columnsMax - 1, column));
  }

  #csi(final: string, sequence: string): void {
    // Private ones set modes of the terminal, which has none.
    if (!/^[\d;]*$/.test(sequence)) return;
    const numbers = sequence.split(";").map((part) => Math.min(Number(part), 10_000));
    const [first = 0, second = 0] = numbers;
    const count = Math.max(1, first);
    switch (final) {
      case "A":
        this.#goTo(this.#row - count, this.#column);
        break;
      case "B":
        this.#goTo(this.#row + count, this.#column);
        break;
      case "C":
        this.#goTo(this.#row, this.#column + count);
        break;
      case "D":
        this.#goTo(this.#row, this.#column - count);
        break;
      case "G":
        this.#goTo(this.#row, count - 1);
        break;
      case "d":
        this.#goTo(count - 1, this.#column);
        break;
      case "H":
      case "f":
        this.#goTo(count - 1, Math.max(1, second) - 1);
        break;
      case "J":
        this.#eraseScreen(first);
        break;
      case "K":
        this.#eraseLine(first);
        break;
      case "P":
        this.#line().splice(this.#column, count);
        return;
      case "m":
        this.#style = styled(this.#style, numbers);
        return;
      case "r":
        this.#setRegion(count - 1, (second || rowsMax) - 1);
        break;
      default:
    }
  }

  #setRegion(top: number, bottom: number): void {
    if (top >= bottom || bottom >= rowsMax) return;
    [this.#top, this.#bottom] = [top, bottom];
    this.#goTo(0, 0);
  }

  #eraseScreen(what: number): void {
    for (let row = 0; row < rowsMax; row++) {
      if (what >= 2 || (what === 1 ? row < this.#row : row > this.#row)) this.#screen[row] = [];
    }
    if (what < 2) this.#eraseLine(what);
  }

  #eraseLine(what: number): void {
    const line = this.#line();
    if (what === 0) line.length = Math.min(line.length, this.#column);
    else if (what === 1) line.fill(blank, 0, this.#column + 1);
    else line.length = 0;
  }
}

function styled(before: Style, numbers: readonly number[]): Style {
  let style = before;
  for (let at = 0; at < numbers.length; at++) {
    const number = numbers[at] ?? 0;
    if (number === 0) style = plain;
    else if (number === 1) style = { ...style, bold: true };
    else if (number === 22) style = { ...style, bold: false };
    else if (number === 7) style = { ...style, inverse: true };
    else if (number === 27) style = { ...style, inverse: false };
    else if (number >= 30 && number <= 37) style = { ...style, foreground: number - 29 };
    else if (number === 39) style = { ...style, foreground: 0 };
    else if (number >= 40 && number <= 47) style = { ...style, background: number - 39 };
    else if (number === 49) style = { ...style, background: 0 };
    else if (number >= 90 && number <= 97) style = { ...style, foreground: number - 81 };
    else if (number >= 100 && number <= 107) style = { ...style, background: number - 91 };
    // Of the large palettes only what they mean for the numbers that follow.
    else if (number === 38 || number === 48) at += numbers[at + 1] === 5 ? 2 : 4;
  }
  return style;
}

/** Pieces of a line that look alike. */
export function piecesOf(line: readonly Cell[]): readonly Cell[] {
  const pieces: Cell[] = [];
  for (const { text, style } of line) {
    const last = pieces.at(-1);
    if (last?.style === style) pieces[pieces.length - 1] = { text: last.text + text, style };
    else pieces.push({ text, style });
  }
  return pieces;
}
