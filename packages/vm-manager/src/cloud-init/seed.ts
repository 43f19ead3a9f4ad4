/**
 * What cloud-init in a guest finds: a read-only disk with the label CIDATA (its data source NoCloud). It holds secrets, so the
 * file is for the process of the VM alone, is made at each start, and goes when that has ended.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8 } from "@blixard/common";
import { writeFileDurable } from "@blixard/common/system";
import type { VmCloudInit } from "@blixard/protocol";
import { isoImage } from "./iso9660.ts";

export const seedFile = "seed.iso";

export interface SeedFacts {
  readonly vmId: string;
  readonly name: string;
  readonly cloudInit: VmCloudInit;
  /** Absent: the guest is told nothing to do. */
  readonly userData: Uint8Array | undefined;
}

/** Resolves with the path of the seed. */
export async function writeSeed(directory: string, facts: SeedFacts): Promise<string> {
  const path = join(directory, seedFile);
  // A new file, never the one that a process of the VM had.
  await rm(path, { force: true });
  await writeFileDurable(path, seedImage(facts));
  return path;
}

/** JSON is YAML too, and needs no other rules for quoting. */
export function seedImage({ vmId, name, cloudInit, userData }: SeedFacts): Uint8Array {
  const { hostname = name, sshKeys = [] } = cloudInit;
  const metaData = {
    // cloud-init does its work once for each.
    "instance-id": vmId,
    "local-hostname": hostname,
    ...(sshKeys.length === 0 ? {} : { "public-keys": sshKeys }),
  };
  return isoImage("CIDATA", [
    { name: "meta-data", content: fromUtf8(`${JSON.stringify(metaData)}\n`) },
    { name: "user-data", content: userData ?? fromUtf8("#cloud-config\n{}\n") },
  ]);
}
