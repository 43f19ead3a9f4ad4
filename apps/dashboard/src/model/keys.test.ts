import { describe, expect, it } from "@jest/globals";
import { bytesOfKey } from "./keys.ts";

const pressed = (key: string, held: string[] = []) =>
  bytesOfKey({
    key,
    ...{ ctrlKey: held.includes("ctrl"), altKey: held.includes("alt") },
    ...{ metaKey: held.includes("meta"), shiftKey: held.includes("shift") },
  });

describe("keys of a console", () => {
  it.each<[string, string[], string]>([
    ["Enter", [], "\r"],
    ["Tab", [], "\t"],
    ["ArrowUp", [], "\x1b[A"],
    ["c", ["ctrl"], "\x03"],
    ["]", ["ctrl"], "\x1d"],
    ["@", ["ctrl"], "\0"],
  ])("%s with %j goes to the guest", (key, held, bytes) => {
    expect(pressed(key, held)).toBe(bytes);
  });

  it.each<[string, string[]]>([
    ["a", []],
    ["Tab", ["shift"]],
    ["v", ["ctrl"]],
    ["C", ["ctrl", "shift"]],
    ["r", ["meta"]],
    ["F5", []],
    ["ArrowUp", ["ctrl"]],
    ["é", ["ctrl"]],
  ])("%s with %j stays with the browser", (key, held) => {
    expect(pressed(key, held)).toBeUndefined();
  });
});
