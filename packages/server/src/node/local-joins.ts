/**
 * Joining on one machine without a ticket. A node that serves on loopback leaves a secret where only processes of its user can
 * read it, under its port and its key. Whoever joins shows an HMAC of that secret over the cluster and both keys: an address
 * proves nothing, because every user of the machine, a forwarded port and a container reach loopback too.
 *
 *     opening -- open --> serves a secret -- a good proof --> serves the next one
 *        |                      |
 *        +---- close, or no place for the secret ----> off: nothing is ever proved
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { rm } from "node:fs/promises";
import type { ClusterEndpoint, LocalJoins } from "@blixard/cluster";
import { fromHex, type Logger, messageOf, parseHostPort, type Random, SerialQueue, toHex } from "@blixard/common";
import { z } from "zod";
import { readRuntimeSecret, writeRuntimeSecret } from "./runtime-dir.ts";

type Environment = Readonly<Record<string, string | undefined>>;

const secretBytes = 32;
/** A machine that read one of these was overtaken by another, and reads the file again. */
const usedSecretsMax = 16;

const fileSchema = z.object({ clusterId: z.string(), secret: z.string().regex(/^[0-9a-f]{64}$/) });

interface Joiner {
  readonly clusterId: string;
  /** The keys of the machine that joins, and of the node that it asks. */
  readonly holder: string;
  readonly asked: string;
}

export interface LocalJoinsDeps {
  readonly random: Random;
  readonly logger: Logger;
  readonly env: Environment;
  /** Of this node. */
  readonly endpointId: string;
}

export class LocalJoinsFile implements LocalJoins {
  readonly #deps: LocalJoinsDeps;
  #phase: "opening" | "open" | "off" = "opening";
  #clusterId = "";
  #name = "";
  #path: string | undefined;
  #secret: Uint8Array = new Uint8Array();
  readonly #used: Uint8Array[] = [];
  readonly #writes = new SerialQueue();

  constructor(deps: LocalJoinsDeps) {
    this.#deps = deps;
  }

  /** Leaves the first secret for those that join at `bind`. Without a place for it nothing is proved, which the log says. */
  async open(bind: string, clusterId: string): Promise<void> {
    this.#clusterId = clusterId;
    this.#name = fileNameOf(bind, this.#deps.endpointId);
    await this.#nextSecret();
    if (this.#phase === "opening") this.#phase = "open";
  }

  /** Nothing is proved any more: this node does not serve on loopback only, or it stops. */
  async close(): Promise<void> {
    this.#phase = "off";
    await this.#writes.run(async () => {
      if (this.#path !== undefined) await rm(this.#path, { force: true });
    });
  }

  check({ endpointId, proof }: { readonly endpointId: string; readonly proof: string | undefined }) {
    if (this.#phase !== "open") return this.#phase === "opening" ? "again" : "unproved";
    if (proof === undefined) return "unproved";
    const joiner = { clusterId: this.#clusterId, holder: endpointId, asked: this.#deps.endpointId };
    const isProofWith = (secret: Uint8Array) => isSame(proofOf(secret, joiner), proof);
    if (this.#used.some(isProofWith)) return "again";
    if (!isProofWith(this.#secret)) return "unproved";
    this.#used.push(this.#secret);
    if (this.#used.length > usedSecretsMax) this.#used.shift();
    void this.#nextSecret();
    return "proved";
  }

  /** From now on only the next secret is good, also before it can be read. */
  #nextSecret(): Promise<void> {
    const { random, env, logger } = this.#deps;
    const secret = random.bytes(secretBytes);
    this.#secret = secret;
    return this.#writes.run(async () => {
      if (this.#phase === "off") return;
      try {
        const text = JSON.stringify({ clusterId: this.#clusterId, secret: toHex(secret) });
        this.#path = await writeRuntimeSecret(env, this.#name, `${text}\n`);
      } catch (error) {
        this.#phase = "off";
        logger.log("warn", "machines on loopback join with a ticket, or when an operator accepts them", {
          reason: messageOf(error),
        });
      }
    });
  }
}

/** What this machine shows to the node at an address; undefined when it cannot read the secret of that node. */
export async function proveLocally(env: Environment, to: ClusterEndpoint, holder: string): Promise<string | undefined> {
  for (const address of to.addresses) {
    const text = await readRuntimeSecret(env, fileNameOf(address, to.endpointId));
    const file = fileSchema.safeParse(text === undefined ? undefined : jsonOf(text));
    if (!file.success) continue;
    const { clusterId, secret } = file.data;
    return proofOf(fromHex(secret) ?? new Uint8Array(), { clusterId, holder, asked: to.endpointId });
  }
  return undefined;
}

function fileNameOf(address: string, endpointId: string): string {
  return `join-${parseHostPort(address)?.port ?? 0}-${endpointId}`;
}

function proofOf(secret: Uint8Array, { clusterId, holder, asked }: Joiner): string {
  const statement = JSON.stringify(["blixard/local-join/1", clusterId, holder, asked]);
  return createHmac("sha256", secret).update(statement).digest("hex");
}

function isSame(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
