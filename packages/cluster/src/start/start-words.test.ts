import { BlixardError } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { type RefusalKind, StartWords, type Word } from "./start-words.ts";

const fits: Word = { type: "fits", isCurrent: false };
const current: Word = { type: "fits", isCurrent: true };
const error = (kind: RefusalKind) => new BlixardError("STORAGE_CORRUPT", kind);
const refuses = (kind: RefusalKind): Word => ({ type: "refuses", kind, error: error(kind) });
const [behind, running, removed] = [refuses("behind"), refuses("running"), refuses("removed")];

/** The decisions after each of the words of nodes 1, 2, ... */
const end = { index: 10, term: 3 };
function decide(others: number, ...said: (readonly [number, Word])[]): string[] {
  const words = new StartWords(
    Array.from({ length: others }, (_, at) => at + 1),
    end,
  );
  return said.map(([id, word]) => {
    words.hear(id, word);
    return words.decide().type;
  });
}

describe("StartWords", () => {
  it("lets a node go on of which nobody says anything, or only that it fits", () => {
    expect(new StartWords([1, 2], end).decide().type).toBe("goOn");
    expect(decide(2, [1, fits], [2, fits])).toEqual(["goOn", "goOn"]);
  });

  it("ends a node when a majority of the other voters refuse it, whatever they say", () => {
    expect(decide(1, [1, behind])).toEqual(["end"]);
    expect(decide(2, [1, behind], [2, removed])).toEqual(["heldBack", "end"]);
    expect(decide(3, [1, behind], [2, running])).toEqual(["heldBack", "end"]);
    expect(decide(4, [1, behind], [2, behind], [3, behind])).toEqual(["heldBack", "heldBack", "end"]);
    const words = new StartWords([1, 2], end);
    words.hear(2, removed);
    words.hear(1, behind);
    expect(words.decide()).toEqual({ type: "end", error: error("removed") });
  });

  it("holds a node back of which one voter remembers more, whatever voters say that know of no leader", () => {
    expect(decide(2, [1, behind], [2, fits])).toEqual(["heldBack", "heldBack"]);
    expect(decide(4, [1, behind], [2, fits], [3, fits], [4, fits])).toEqual(Array(4).fill("heldBack"));
    // Whoever took it back was started again, perhaps, and has forgotten what it heard.
    expect(decide(2, [1, behind], [1, fits], [2, fits])).toEqual(Array(3).fill("heldBack"));
  });

  it("lets it go on when a majority of the other voters say so from the newest state", () => {
    expect(decide(2, [1, behind], [2, current], [1, current])).toEqual(["heldBack", "heldBack", "goOn"]);
    expect(decide(4, [1, behind], [2, current], [3, current], [4, fits], [4, current])).toEqual([
      ...Array(4).fill("heldBack"),
      "goOn",
    ]);
  });

  it("lets it go on when a process that ran elsewhere is gone", () => {
    expect(decide(2, [1, running], [2, fits], [1, fits])).toEqual(["heldBack", "heldBack", "goOn"]);
    expect(decide(2, [1, running], [2, fits], [1, behind], [1, running], [1, fits])).toEqual(Array(5).fill("heldBack"));
  });

  it("lets those go on together that one voter alone refuses, when they are a majority and miss nothing of its log", () => {
    const refused = (kind: RefusalKind, index: number, term = 3): Word => ({
      ...{ type: "refuses", kind, error: error(kind) },
      lastEntry: { index, term },
    });
    const alike = (...refusedBy: number[]): Word => ({ ...fits, refusedBy, lastEntry: { index: 9, term: 3 } });
    expect(decide(2, [1, refused("behind", 10)], [2, alike(1)])).toEqual(["heldBack", "goOn"]);
    // It may be right: its log says more than theirs.
    expect(decide(2, [1, refused("behind", 11)], [2, alike(1)])[1]).toBe("heldBack");
    expect(decide(2, [1, refused("behind", 2, 4)], [2, alike(1)])[1]).toBe("heldBack");
    expect(decide(2, [1, behind], [2, alike(1)])[1]).toBe("heldBack");
    // The other of its two processes writes no more than this one for now.
    expect(decide(2, [1, refused("running", 10)], [2, alike(1)])[1]).toBe("heldBack");
    // Others are not refused, or by others as well.
    expect(decide(2, [1, refused("behind", 10)], [2, alike()])[1]).toBe("heldBack");
    expect(decide(4, [1, refused("behind", 10)], [2, alike(1)], [3, alike(1, 4)])[2]).toBe("heldBack");
    expect(decide(4, [1, refused("behind", 10)], [2, alike(1)], [3, alike(1)])[2]).toBe("goOn");
  });

  it("says who holds it back, and whose word is missing", () => {
    const words = new StartWords([1, 2, 3, 4], end);
    words.hear(1, behind);
    words.hear(2, current);
    words.hear(3, fits);
    expect(words.decide()).toEqual({ type: "heldBack", by: new Map([[1, error("behind")]]), waitingFor: [1, 3, 4] });
  });
});
