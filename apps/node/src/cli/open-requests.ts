/**
 * Request ids of changes whose end their command did not see, in `blixard/open-requests.json` of the user's configuration
 * home: the same command, given again, finds by them what it did itself.
 */
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { makePrivateDirectory, readOwnFile, writeOwnFile } from "@blixard/common/system";
import { z } from "zod";
import { configHome } from "./contexts.ts";

const fileSchema = z.object({
  formatVersion: z.literal(1),
  requests: z.array(
    z.object({
      change: z.string().max(64),
      requestId: z.string().max(128),
      /** A log index from before the request; 0 in what an earlier release wrote. */
      sinceIndex: z.int().min(0).default(0),
      atUnixMs: z.int().min(0),
    }),
  ),
});
export type AskedRequest = Pick<OpenRequest, "requestId" | "sinceIndex">;
type OpenRequest = z.infer<typeof fileSchema>["requests"][number];

/** After so long the cluster may have forgotten the id. */
const rememberedMsMax = 24 * 3_600_000;
const rememberedMax = 100;

export class OpenRequests {
  /** Undefined for a user without a home: nothing is remembered. */
  readonly #path: string | undefined;
  readonly #nowUnixMs: () => number;

  constructor(env: Readonly<Record<string, string | undefined>>, nowUnixMs: () => number) {
    const home = configHome(env);
    this.#path = home === undefined ? undefined : join(home, "open-requests.json");
    this.#nowUnixMs = nowUnixMs;
  }

  /** The ids with which a change was asked for, the first one first. */
  of(change: string): readonly AskedRequest[] {
    return this.#read().filter((open) => open.change === change);
  }

  get isEmpty(): boolean {
    return this.#read().length === 0;
  }

  add(change: string, { requestId, sinceIndex }: AskedRequest): void {
    this.#write(
      [...this.#read(), { change, requestId, sinceIndex, atUnixMs: this.#nowUnixMs() }].slice(-rememberedMax),
    );
  }

  remove(change: string): void {
    const open = this.#read();
    const others = open.filter((request) => request.change !== change);
    if (others.length < open.length) this.#write(others);
  }

  /** What cannot be read, or is too old, is forgotten: it only spares a look. */
  #read(): readonly OpenRequest[] {
    if (this.#path === undefined) return [];
    try {
      const { requests } = fileSchema.parse(JSON.parse(readOwnFile(this.#path)));
      return requests.filter(({ atUnixMs }) => this.#nowUnixMs() - atUnixMs < rememberedMsMax);
    } catch {
      return [];
    }
  }

  /** A disk that cannot be written makes no command fail. */
  #write(requests: readonly OpenRequest[]): void {
    if (this.#path === undefined) return;
    try {
      if (requests.length === 0) {
        rmSync(this.#path, { force: true });
        return;
      }
      makePrivateDirectory(dirname(this.#path));
      writeOwnFile(this.#path, `${JSON.stringify({ formatVersion: 1, requests })}\n`);
    } catch {
      // The same command then says that the thing is there already, and the person looks.
    }
  }
}

/** One text for one change, which does not show what was asked. */
export function changeOf(name: string, request: object, ifMatchIndex: number | undefined): string {
  return createHash("sha256")
    .update(JSON.stringify([name, request, ifMatchIndex ?? null]))
    .digest("hex");
}
