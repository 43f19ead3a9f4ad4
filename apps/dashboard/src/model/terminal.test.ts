import { describe, expect, it } from "@jest/globals";
import fc from "fast-check";
import { columnsMax, historyMax, piecesOf, rowsMax, Terminal } from "./terminal.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

function shown(...pieces: (string | Uint8Array)[]): string[] {
  const terminal = new Terminal();
  for (const piece of pieces) terminal.write(typeof piece === "string" ? bytes(piece) : piece);
  const lines = terminal.lines.map((line) => line.map(({ text }) => text).join(""));
  while (lines.at(-1) === "") lines.pop();
  return lines;
}

describe("a terminal", () => {
  it.each<[string, string, string[]]>([
    ["lines", "one\r\ntwo\n  three", ["one", "two", "  three"]],
    ["a return writes over", "12345\rab", ["ab345"]],
    ["backspace and tab", "abc\b\bX\ty", ["aXc     y"]],
    ["the cursor", "\x1b[2;3Hx\x1b[A\x1b[2Dy\x1b[10Gz", [" y       z", "  x"]],
    ["erasing", "abcdef\x1b[3D\x1b[K\r\nxyz\x1b[1K\r\nq\x1b[2J.", ["", "", " ."]],
    ["titles and charsets", "\x1b]0;a <b>title\x07a\x1b]2;t\x1b\\b\x1b(Bc\x1b[?25hd", ["abcd"]],
    ["other controls", "a\x00\x07\x7f\x9bb", ["ab"]],
    ["a long line goes on below", "x".repeat(columnsMax + 2), ["x".repeat(columnsMax), "xx"]],
    ["markup", "<img src=x onerror=alert(1)>", ["<img src=x onerror=alert(1)>"]],
  ])("knows %s", (_, text, lines) => {
    expect(shown(text)).toEqual(lines);
  });

  it("puts together what comes in pieces", () => {
    const text = bytes("ä\x1b[31m€");
    expect(shown(...Array.from(text, (byte) => new Uint8Array([byte])))).toEqual(["ä€"]);
  });

  it("keeps what scrolled away, within bounds", () => {
    const terminal = new Terminal();
    const count = rowsMax + historyMax + 5;
    for (let at = 0; at < count; at++) terminal.write(bytes(`\r\nline ${at}`));
    expect([terminal.lines.length, terminal.first]).toEqual([rowsMax + historyMax, 6]);
    expect(terminal.lines[0]?.map(({ text }) => text).join("")).toBe("line 5");
    expect(terminal.cursor).toEqual({ row: rowsMax + historyMax - 1, column: `line ${count - 1}`.length });
  });

  it("scrolls inside of a region only", () => {
    expect(shown("top\x1b[2;3r\x1b[2;1Ha\r\nb\r\nc\r\nd")).toEqual(["top", "c", "d"]);
  });

  it.each(["\x1b[2;99r", "\x1b[7;3r", "\x1b[4;4r"])("scrolls all of it where the region %j is none", (region) => {
    const lines = Array.from({ length: rowsMax + 6 }, (_, at) => `line ${at}`);
    expect(shown(region, lines.join("\n"))).toEqual(lines);
  });

  it("tells colours apart", () => {
    const terminal = new Terminal();
    terminal.write(bytes("a\x1b[1;31mbc\x1b[38;5;196md\x1b[0me\x1b[97;44mf"));
    expect(
      piecesOf(terminal.lines[0] ?? []).map(({ text, style }) => [text, style.foreground, style.background]),
    ).toEqual([
      ...[
        ["a", 0, 0],
        ["bcd", 2, 0],
        ["e", 0, 0],
        ["f", 16, 5],
      ],
    ]);
  });

  it("stays within its bounds whatever comes", () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .tuple(fc.oneof(fc.nat(30), fc.nat(99_999)), fc.nat(30), fc.constantFrom(..."ABCDGdHfJKPmrhXq"))
        .map(([a, b, end]) => bytes(`\x1b[${a};${b}${end}`)),
      fc.constantFrom("\x1b7", "\x1b8", "\x1bM", "\x1bD", "\x1bc", "\n", "\b", "\t", "x").map(bytes),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
        const terminal = new Terminal();
        for (const each of pieces) terminal.write(each);
        const { lines, cursor } = terminal;
        expect(lines.length).toBeLessThanOrEqual(rowsMax + historyMax);
        expect(lines.length).toBeGreaterThanOrEqual(rowsMax);
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(columnsMax);
        expect(lines.every((line) => Array.from(line).every((cell) => cell !== undefined))).toBe(true);
        expect(cursor.row).toBeLessThan(lines.length);
        expect(cursor.column).toBeLessThanOrEqual(columnsMax);
      }),
    );
  });
});
