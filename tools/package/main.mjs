#!/usr/bin/env node
// Packs all packages and looks at them as a user of them would: at each tarball, and at each block of code of each README.
//   node tools/package/main.mjs [--out FOLDER]    --out keeps the tarballs, in FOLDER/tarballs
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { checkReadmes } from "./check-readmes.mjs";
import { checkTarball } from "./check-tarballs.mjs";
import { forEachOfTwo } from "./concurrency.mjs";
import { linkDependencies, packAll } from "./pack.mjs";

const keep = process.argv[2] === "--out" ? resolve(process.argv[3]) : undefined;
const target = keep ?? realpathSync(mkdtempSync(join(tmpdir(), "blixard-")));
let breaches = 0;
const report = (where, breach) => {
  breaches++;
  console.error(`${where}: ${breach}`);
};

try {
  const packed = await packAll(target);
  linkDependencies(target, packed);
  const versions = new Map(packed.map(({ manifest }) => [manifest.name, manifest.version]));
  await forEachOfTwo(packed, async (one) => {
    for (const breach of await checkTarball(one, versions)) report(one.folder, breach);
  });
  const blocks = await checkReadmes(target, report);
  console.error(`${packed.length} packages and ${blocks} blocks of READMEs: ${breaches} breaches`);
} finally {
  if (keep === undefined) rmSync(target, { recursive: true, force: true });
}
process.exit(breaches === 0 ? 0 : 1);
