import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { methods, streams } from "@blixard/protocol";
import { describe, expect, it } from "@jest/globals";
import { callWall, claimWall, roles, wayNames } from "./call-wall.ts";
import { matrix } from "./matrix.ts";
import { changes, claimRequests, requests } from "./requests.ts";

const page = fileURLToPath(new URL("../../../../../docs/security-model.md", import.meta.url));
const [begin, end] = ["<!-- matrix: written by `UPDATE_GOLDEN=1 npm test -- matrix` -->", "<!-- end of matrix -->"];

describe("the matrix of inside-the-wall", () => {
  it("has a row for each method and each stream of the contract", () => {
    const known = [...Object.keys(methods), ...Object.keys(streams)].sort();
    expect([...callWall.keys()].sort()).toEqual(known);
    expect(Object.keys(requests).sort()).toEqual(known);
    expect([...claimWall.keys()]).toEqual(Object.keys(claimRequests));
  });

  it("has a cell for each key in each way, and knows what every write changes", () => {
    for (const [name, { cells, person }] of callWall) {
      for (const way of wayNames) {
        expect([name, way, cells[way].filter((cell) => cell !== undefined).length]).toEqual([name, way, roles.length]);
      }
      expect([name, person.length]).toEqual([name, 3]);
    }
    // A ticket that is good is an attack of nobody.
    const byTicket = ["join.request", "token.redeem"];
    const writes = Object.entries(methods).filter(([name, { writes }]) => writes && !byTicket.includes(name));
    expect(writes.map(([name]) => name).filter((name) => !Object.hasOwn(changes, name))).toEqual([]);
  });

  it("stands in the security model", () => {
    const text = readFileSync(page, "utf8");
    const [head = "", rest = ""] = text.split(begin);
    const wanted = `${head}${begin}\n\n${matrix()}\n\n${end}${rest.split(end)[1] ?? ""}`;
    expect(rest).toContain(end);
    if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(page, wanted);
    else expect(text).toBe(wanted);
  });
});
