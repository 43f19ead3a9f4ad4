import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "@jest/globals";
import { findProgram } from "../confinement/launcher.ts";
import { describeWith } from "../testing/required-component.ts";
import { removeTemporaryDirectories, temporaryDirectory } from "../testing/temporary-directory.ts";
import { demoGuestElf } from "./demo-guest.ts";

afterAll(removeTemporaryDirectories);

const compiler = {
  name: "gcc 12",
  present: findProgram("gcc-12") !== undefined,
  install: "apt-get install -y gcc-12",
};

describeWith(describe, compiler)("the demo guest", () => {
  it("is what its source makes", async () => {
    const output = join(await temporaryDirectory(), "demo-guest.elf");
    execFileSync(fileURLToPath(new URL("../../guest/build", import.meta.url)), [output]);
    expect(Buffer.compare(readFileSync(output), demoGuestElf())).toBe(0);
  });
});
