import { describe, expect, it } from "@jest/globals";
import { HashWindow } from "./hash-window.ts";

const hashOf = (index: number) => new Uint8Array(32).fill(index % 251);
const rowOf = (index: number) => ({ index, term: Math.ceil(index / 100), hash: hashOf(index) });

function filled(entriesMax: number, from: number, to: number): HashWindow {
  const window = new HashWindow(entriesMax);
  for (let index = from; index <= to; index++) window.add(rowOf(index));
  return window;
}

describe("HashWindow", () => {
  it("knows the latest rows, however many came, and none before or behind them", () => {
    const from = 2 ** 33;
    const window = filled(300, from, from + 2_000);
    for (let index = from + 1_701; index <= from + 2_000; index++) expect(window.at(index)).toEqual(rowOf(index));
    expect(window.at(from + 2_001)).toBeUndefined();
    expect(window.at(from + 1_000)).toBeUndefined();
    expect(window.range(from + 1_990, from + 3_000).map(({ index }) => index - from)).toEqual([
      1990, 1991, 1992, 1993, 1994, 1995, 1996, 1997, 1998, 1999, 2000,
    ]);
    expect(new HashWindow(300).at(0)).toBeUndefined();
  });

  it("gives what is to be stored, from which another one is made that goes on", () => {
    const window = filled(200, 1, 90);
    const first = window.takeUnstored();
    expect(window.takeUnstored()).toEqual([]);
    for (let index = 91; index <= 150; index++) window.add(rowOf(index));
    const second = window.takeUnstored();
    const loaded = new HashWindow(200);
    for (const { key, value } of [...first, ...second]) loaded.load(key, value ?? new Uint8Array());
    expect(loaded.range(0, 1_000)).toEqual(window.range(0, 1_000));
    expect(loaded.takeUnstored()).toEqual([]);
    loaded.add(rowOf(151));
    expect(loaded.at(151)).toEqual(rowOf(151));
    expect(loaded.storedAnew()[0]?.value?.length).toBe(151 * 48);
  });

  it("takes stored rows out of the store when all of them have left the window", () => {
    const window = filled(100, 1, 50);
    const [stored] = window.takeUnstored();
    for (let index = 51; index <= 149; index++) window.add(rowOf(index));
    expect(window.takeUnstored()).toHaveLength(1);
    window.add(rowOf(150));
    expect(window.takeUnstored().slice(1)).toEqual([{ ...stored, value: undefined }]);
  });
});
