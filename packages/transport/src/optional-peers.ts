/** Packages that one adapter needs and nobody else: optional peers of this package, which the user of that adapter installs. */
import { readFileSync } from "node:fs";
import { BlixardError, messageOf, systemErrorCodeOf } from "@blixard/common";

/** The packages that each adapter needs. Their versions stand in the `peerDependencies` of this package. */
const peersOf = {
  Iroh: ["@number0/iroh"],
  gRPC: ["@grpc/grpc-js", "@grpc/proto-loader", "@grpc/reflection", "grpc-health-check"],
} as const;

/**
 * Runs the import that an adapter begins with.
 * @throws UNSUPPORTED when a package of the adapter is not installed, with the command that installs it; else what `load` throws
 */
export async function importWithPeers<Module>(
  adapter: keyof typeof peersOf,
  load: () => Promise<Module>,
): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    const missing = missingPeer(peersOf[adapter], error);
    if (missing === undefined) throw error;
    throw new BlixardError(
      "UNSUPPORTED",
      `the ${adapter} transport needs the package ${missing}, which is not installed`,
      {
        hint: `Run: npm install ${peersOf[adapter].map(withVersion).join(" ")}`,
        cause: error,
      },
    );
  }
}

function missingPeer(peers: readonly string[], error: unknown): string | undefined {
  // Node's own error carries the name of the package in its message only.
  if (systemErrorCodeOf(error) !== "ERR_MODULE_NOT_FOUND") return undefined;
  return peers.find((name) => messageOf(error).includes(`'${name}'`));
}

function withVersion(name: string): string {
  // The path is the same from `src` and from `dist`.
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  const { peerDependencies } = manifest as { readonly peerDependencies: Readonly<Record<string, string>> };
  return `${name}@${peerDependencies[name] ?? "latest"}`;
}
