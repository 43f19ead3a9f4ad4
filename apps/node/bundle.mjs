// Bundles the program: `tsc` makes a file of each source, and loading hundreds of files costs more than most commands do.
// What a command needs comes in chunks, by its `import()`; native packages, and those that the program names itself, stay
// where npm installs them. Each file that is started as a process of its own stays in its package as well.
import { readFile, rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const output = join(here, "dist/bundle");

const { dependencies } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));

/** Packages that look for files beside them, or are optional. They are dependencies of this package. */
const external = [
  "@grpc/grpc-js",
  "@grpc/proto-loader",
  "@grpc/reflection",
  "@number0/iroh",
  "grpc-health-check",
  "pino",
  "pino-pretty",
  "v86",
  "yaml",
  "msgpackr-extract",
  "bufferutil",
  "utf-8-validate",
];

/** A module that asks where it stands is told the place of its file in its package, not that of the bundle. */
const ownPlaces = {
  name: "own-places",
  setup({ onLoad }) {
    onLoad({ filter: /\/(packages|apps)\/[^/]+\/dist\/.*\.js$/ }, async ({ path }) => {
      const code = (await readFile(path, "utf8")).replace('import { z } from "zod";', 'import * as z from "zod";');
      const [group, folder, ...rest] = relative(root, path).split("/");
      if (group === "packages" && code.includes("import.meta.url") && !(`@blixard/${folder}` in dependencies)) {
        throw new Error(`${path} asks where it stands: @blixard/${folder} has to be a dependency of this package`);
      }
      const place =
        group === "apps"
          ? `new URL(${JSON.stringify(`../../${rest.join("/")}`)}, import.meta.url).href`
          : `new URL(${JSON.stringify(`./${rest.join("/")}`)}, import.meta.resolve("@blixard/${folder}/package.json")).href`;
      return { contents: code.replaceAll("import.meta.url", place), loader: "js" };
    });
  },
};

/** It throws when limits contradict each other, which is what it is imported for. */
const comparesLimits = /\/assert-limits\.js$/;

/** Nothing else of ours does anything when it is imported: what a command does not use of a package is not loaded for it. */
const ownUnused = {
  name: "own-unused",
  setup(bundler) {
    bundler.onResolve({ filter: /^(@blixard\/|\.)/ }, async ({ path, pluginData, ...options }) => {
      if (pluginData === ownUnused || options.kind === "entry-point" || /node_modules/.test(options.importer))
        return undefined;
      const { importer, namespace, resolveDir, kind } = options;
      const found = await bundler.resolve(path, { importer, namespace, resolveDir, kind, pluginData: ownUnused });
      return { ...found, sideEffects: comparesLimits.test(path) };
    });
  },
};

/** The native store is loaded from the package that depends on it. */
const nativeStore = {
  name: "native-store",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^level$/ }, ({ path }) => ({ path, namespace: "native-store" }));
    onLoad({ filter: /.*/, namespace: "native-store" }, () => ({
      contents: `import { createRequire } from "node:module";
        export const { Level } = createRequire(import.meta.resolve("@blixard/storage/package.json"))("level");`,
    }));
  },
};

await rm(output, { recursive: true, force: true });
const { metafile } = await build({
  entryPoints: [join(here, "dist/main.js")],
  outdir: output,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20.19",
  chunkNames: "[name]-[hash]",
  external,
  sourcemap: "linked",
  legalComments: "linked",
  // Packages in CommonJS ask for the modules of Node.js with `require`.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  plugins: [ownPlaces, ownUnused, nativeStore],
  logLevel: "warning",
  metafile: true,
});

// Node.js finds the names that a package in CommonJS exports, and a bundle does not: `import()` has only its `default` there.
for (const [importer, { imports }] of Object.entries(metafile.inputs)) {
  for (const { kind, path, external: isExternal } of imports) {
    if (kind !== "dynamic-import" || isExternal || metafile.inputs[path]?.format !== "cjs") continue;
    throw new Error(`${importer} imports ${path}, which is CommonJS, when it runs: its package has to stay external`);
  }
}
