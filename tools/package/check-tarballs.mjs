// What a package has to be for somebody who only has its tarball.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { linksOf } from "./markdown.mjs";
import { filesBelow, readJson, root, run } from "./pack.mjs";
import { missingImports, namedFiles, reachable } from "./reachable.mjs";

export const homepage = "https://github.com/blixard/blixard";
const testParts = /\.test\.|(^|\/)(bench|benches|e2e|examples|faults|fixtures)\//;

/** The breaches of one package, as sentences. */
export async function checkTarball(packed, versions) {
  const files = filesBelow(packed.installed);
  return [
    ...checkManifest(packed, versions),
    ...checkLicense(packed),
    ...checkFiles(packed, files),
    ...checkMaps(packed, files),
    ...checkLinks(packed),
    ...(await checkWithPublint(packed)),
    ...(await checkTypes(packed)),
  ];
}

function* checkManifest({ folder, manifest }, versions) {
  for (const field of ["description", "license", "repository", "homepage", "bugs", "keywords", "engines", "files"]) {
    if (!manifest[field]) yield `package.json has no ${field}`;
  }
  if (manifest.repository?.url !== `git+${homepage}.git`) yield `repository.url is not git+${homepage}.git`;
  if (manifest.repository?.directory !== folder) yield `repository.directory is not ${folder}`;
  if (manifest.homepage !== `${homepage}/tree/main/${folder}#readme`) yield "homepage is not the folder's README";
  if (!(manifest.keywords?.length >= 3)) yield "package.json has fewer than three keywords";
  if (manifest.engines?.node !== readJson(join(root, "package.json")).engines.node) {
    yield "engines.node is not the one of the repository";
  }
  for (const [name, range] of Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies })) {
    if (name.startsWith("@blixard/") && range !== versions.get(name)) {
      yield `depends on ${name} ${range}, which is packed as ${versions.get(name) ?? "nothing"}`;
    }
  }
}

function* checkLicense({ installed }) {
  const file = join(installed, "LICENSE");
  const same = existsSync(file) && readFileSync(file).equals(readFileSync(join(root, "LICENSE")));
  if (!same) yield "LICENSE is missing, or not the one of the repository";
}

function* checkFiles({ installed, manifest }, files) {
  const entries = namedFiles({ exports: manifest.exports, bin: manifest.bin });
  for (const entry of entries) {
    if (!files.includes(entry)) yield `package.json names ${entry}, which is not packed`;
  }
  // What is served to browsers begins with a page.
  const pages = files.filter((name) => name.endsWith(".html"));
  const reached = reachable(installed, [...entries, ...pages]);
  for (const file of files.filter((name) => name.endsWith(".js"))) {
    for (const target of missingImports(installed, file)) yield `${file} imports ${target}, which is not packed`;
  }
  for (const file of files) {
    if (testParts.test(file)) yield `${file} is a part of tests, benchmarks or examples`;
    const name = /^(?:src|dist)\/(.*?)(?:\.d\.ts|\.js|\.ts)(?:\.map)?$/.exec(file)?.[1];
    // What only types are taken from leaves no trace in the code that is built.
    const forms = [`dist/${name}.js`, `dist/${name}.d.ts`, `src/${name}.ts`];
    if (name === undefined || forms.some((form) => reached.has(form))) continue;
    yield `${file} is packed, and no entry of the package leads to it`;
  }
}

/** A map leads from what is shipped to what is shipped: then debuggers and editors open the source. */
function* checkMaps({ installed }, files) {
  for (const file of files) {
    if (file.endsWith(".map")) {
      const { sources, sourcesContent } = readJson(join(installed, file));
      // The map of a bundle holds its sources.
      if (sourcesContent?.length === sources.length) continue;
      for (const source of sources) {
        const target = normalize(join(dirname(file), source));
        if (!files.includes(target)) yield `${file} leads to ${target}, which is not packed`;
      }
    } else if (/\.(js|d\.ts)$/.test(file)) {
      const map = /^\/\/# sourceMappingURL=(.+)$/m.exec(readFileSync(join(installed, file), "utf8"))?.[1];
      if (map !== undefined && !files.includes(join(dirname(file), map)))
        yield `${file} names ${map}, which is not packed`;
    }
  }
}

function* checkLinks({ installed }) {
  const readme = join(installed, "README.md");
  if (!existsSync(readme)) {
    yield "README.md is missing";
    return;
  }
  const ours = new RegExp(`^${homepage}/(?:blob|tree)/main/([^#]*)`);
  for (const link of linksOf(readFileSync(readme, "utf8"))) {
    const inRepository = ours.exec(link)?.[1];
    if (inRepository !== undefined) {
      if (!existsSync(join(root, inRepository)))
        yield `README.md leads to ${link}, which this repository does not have`;
    } else if (!/^(https?:|mailto:|#)/.test(link) && !isInside(installed, link)) {
      yield `README.md leads to ${link}, which is not packed: name it by ${homepage}/blob/main/...`;
    }
  }
}

function isInside(folder, link) {
  const path = normalize(link.replace(/#.*/, ""));
  return !path.startsWith("..") && existsSync(join(folder, path));
}

async function checkWithPublint({ tarball, manifest }) {
  const { messages } = await publint({ pack: { tarball: readFileSync(tarball) }, strict: true });
  return messages.map((message) => `publint: ${formatMessage(message, manifest, { color: false }) ?? message.code}`);
}

/** Packages are ESM only, so what CommonJS and the resolution of Node.js 10 make of them is not looked at. */
async function checkTypes({ tarball, manifest }) {
  if (manifest.exports === undefined) return [];
  const attw = join(root, "node_modules/.bin/attw");
  try {
    await run(attw, [tarball, "--profile", "esm-only", "--no-color", "--no-emoji", "--format", "ascii"]);
    return [];
  } catch (error) {
    return [`attw: ${error.stdout || error.message}`];
  }
}
