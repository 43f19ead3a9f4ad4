/** Copies the built packages into a directory and plants a mutant in the copy. The product has no seam for this. */
import { access, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Mutant } from "./mutant.ts";

export interface PlantOptions {
  /** The repository. */
  readonly root: string;
  /** Below the repository's `node_modules`, where other packages are found from. */
  readonly directory: string;
}

/** Resolves with the entry of the simulator in the copy. @throws when the text to replace is not there exactly once */
export async function plantMutant(mutant: Mutant, { root, directory }: PlantOptions): Promise<string> {
  const scope = join(directory, "node_modules", "@blixard");
  await rm(directory, { recursive: true, force: true });
  for (const name of await readdir(join(root, "packages"))) {
    await mkdir(join(scope, name), { recursive: true });
    await cp(join(root, "packages", name, "package.json"), join(scope, name, "package.json"));
    await cp(join(root, "packages", name, "dist"), join(scope, name, "dist"), {
      recursive: true,
      filter: (path) => !/\.(d\.ts|map|tsbuildinfo)$/.test(path),
    });
  }
  await writeFile(fileOf(mutant, scope), await mutatedText(mutant, join(root, "packages")));
  return join(scope, "testing", "dist", "simulator", "main.js");
}

/**
 * The built file with the mutant in it. An output whose source is gone is what an earlier build left behind: nothing
 * runs it.
 *
 * @throws when the text to replace is not there exactly once, or the file has no source
 */
export async function mutatedText(mutant: Mutant, packagesDirectory: string): Promise<string> {
  await access(sourceOf(mutant, packagesDirectory));
  const parts = (await readFile(fileOf(mutant, packagesDirectory), "utf8")).split(mutant.from);
  if (parts.length === 2) return parts.join(mutant.to);
  throw new Error(`${mutant.name}: the text to replace stands ${parts.length - 1} times in ${mutant.file}`);
}

function fileOf({ file }: Mutant, packagesDirectory: string): string {
  const [name = "", ...rest] = file.split("/");
  return join(packagesDirectory, name, "dist", ...rest);
}

function sourceOf({ file }: Mutant, packagesDirectory: string): string {
  const [name = "", ...rest] = file.replace(/\.js$/, ".ts").split("/");
  return join(packagesDirectory, name, "src", ...rest);
}
