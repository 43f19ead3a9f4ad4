import { describe, expect, it } from "@jest/globals";
import { pageOf } from "./page.ts";

const keyOf = ({ id }: { readonly id: number }) => String(id);
const orderOf = (key: string) => key.padStart(3, "0");
const rows = [10, 9, 1, 100].map((id) => ({ id }));

describe("pageOf", () => {
  it("gives what follows a key, in order, and names the last row when more follow", () => {
    expect(pageOf(rows, {}, { keyOf, orderOf, index: 7 })).toEqual({
      items: [{ id: 1 }, { id: 9 }, { id: 10 }, { id: 100 }],
      index: 7,
    });
    expect(pageOf(rows, { limit: 2, after: "1" }, { keyOf, orderOf })).toEqual({
      items: [{ id: 9 }, { id: 10 }],
      next: "10",
    });
    // The row of the cursor may be gone meanwhile.
    expect(pageOf(rows, { after: "50" }, { keyOf, orderOf })).toEqual({ items: [{ id: 100 }] });
  });

  it("ends a page by bytes, with one row at least", () => {
    const large = [1, 2, 3].map((id) => ({ id, text: "\u6f22".repeat(400_000) }));
    expect(pageOf(large, { limit: 10 }, { keyOf })).toMatchObject({ items: [{ id: 1 }], next: "1" });
    expect(pageOf(large, { after: "2" }, { keyOf })).toMatchObject({ items: [{ id: 3 }] });
  });

  it("refuses to cut a list that was asked for whole, and names the bytes", () => {
    const large = [1, 2].map((id) => ({ id, text: "x".repeat(1_000_000) }));
    expect(() => pageOf(large, {}, { keyOf })).toThrow(
      expect.objectContaining({ code: "VALUE_TOO_LARGE", message: expect.stringContaining("1572864 bytes") }),
    );
  });
});
