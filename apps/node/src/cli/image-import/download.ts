/**
 * Fetches a URL into a file of this user, and goes on where an earlier attempt stopped: with a range, and with what the server
 * said of the content, so that parts of two different files never become one.
 */
import { createHash } from "node:crypto";
import { constants as fsConstants } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { BlixardError, errorCodeOf, linkSignal, reasonOf } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { limits } from "@blixard/protocol";
import type { CliContext } from "../cli-context.ts";
import { withAttempts } from "./attempts.ts";
import { Progress } from "./progress.ts";

/** The server is given up when nothing comes for so long. */
const stallMs = 30_000;
const attemptsMax = 5;

export interface Downloaded {
  readonly path: string;
  /** Removes the file, when it is of no use any more. */
  forget(): Promise<void>;
}

export function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}

/** Resolves when all of it is in the file. @throws INVALID_ARGUMENT, UNAVAILABLE, VALUE_TOO_LARGE */
export async function download(context: CliContext, text: string): Promise<Downloaded> {
  const url = parseUrl(text);
  const directory = join(cacheHome(context), "imports");
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, createHash("sha256").update(url.href).digest("hex"));
  const files = { whole: path, part: `${path}.part`, validator: `${path}.etag` };
  const forget = async () => {
    for (const file of Object.values(files)) await rm(file, { force: true });
  };
  const mayPass = (error: unknown) => errorCodeOf(error) === "UNAVAILABLE";
  await withAttempts(context, { attemptsMax, mayPass }, async () => {
    if (!(await isThere(path))) await fetchRest(context, url, files);
  });
  return { path, forget };
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url;
  throw new BlixardError("INVALID_ARGUMENT", `${text} is no http or https URL`);
}

function cacheHome({ env }: CliContext): string {
  const given = env["XDG_CACHE_HOME"];
  return join(given === undefined || given === "" ? join(homedir(), ".cache") : given, "blixard");
}

interface Files {
  readonly whole: string;
  readonly part: string;
  /** What the server said that the content is: an entity tag, or the time of its last change. */
  readonly validator: string;
}

async function fetchRest(context: CliContext, url: URL, files: Files): Promise<void> {
  const validator = await readFile(files.validator, "utf8").catch(() => "");
  const hadBytes = validator === "" ? 0 : await sizeOf(files.part);
  const watched = linkSignal(context.signal);
  const stalled = () => watched.abort(unavailable(url, `nothing came for ${stallMs / 1_000} s`));
  let timer = systemClock.setTimer(stallMs, stalled);
  try {
    const headers = hadBytes === 0 ? {} : { range: `bytes=${hadBytes}-`, "if-range": validator };
    const answer = await fetch(url, { headers: { ...headers, "accept-encoding": "identity" }, signal: watched.signal });
    const from = answer.status === 206 ? startOf(answer, hadBytes) : 0;
    if (answer.status !== 206 && answer.status !== 200) throw refusedBy(url, answer.status);
    const length = Number(answer.headers.get("content-length") ?? Number.NaN);
    const wholeBytes = Number.isNaN(length) ? undefined : from + length;
    if ((wholeBytes ?? 0) > limits.imageBlobBytesMax) throw tooLarge(url);
    const progress = new Progress(context, `downloading ${url.pathname.split("/").at(-1) ?? ""}`, wholeBytes);
    const flags = fsConstants.O_WRONLY | fsConstants.O_CREAT | fsConstants.O_NOFOLLOW;
    await using file = await open(files.part, flags, 0o600);
    await file.truncate(from);
    const weak = answer.headers.get("etag")?.startsWith("W/") === true;
    const seen = (weak ? null : answer.headers.get("etag")) ?? answer.headers.get("last-modified") ?? "";
    await writeFile(files.validator, seen, { mode: 0o600 });
    let bytes = from;
    for await (const piece of answer.body ?? []) {
      timer.cancel();
      timer = systemClock.setTimer(stallMs, stalled);
      if (bytes + piece.length > limits.imageBlobBytesMax) throw tooLarge(url);
      await file.write(piece, 0, piece.length, bytes);
      bytes += piece.length;
      progress.at(bytes);
    }
    progress.end();
    if (wholeBytes !== undefined && bytes !== wholeBytes) throw unavailable(url, "it broke off");
    await rename(files.part, files.whole);
  } catch (error) {
    context.signal.throwIfAborted();
    if (["UNAVAILABLE", "INVALID_ARGUMENT", "VALUE_TOO_LARGE"].includes(errorCodeOf(error) ?? "")) throw error;
    throw unavailable(url, reasonOf(error), error);
  } finally {
    timer.cancel();
    watched.release();
  }
}

/** @throws UNAVAILABLE for a server that gives another part than it was asked for */
function startOf(answer: Response, asked: number): number {
  const from = /^bytes (\d+)-/.exec(answer.headers.get("content-range") ?? "")?.[1];
  if (Number(from) === asked) return asked;
  throw new BlixardError("UNAVAILABLE", "the server gave another part than it was asked for");
}

function refusedBy(url: URL, status: number): BlixardError {
  const passes = status >= 500 || status === 429 || status === 416;
  return new BlixardError(
    passes ? "UNAVAILABLE" : "INVALID_ARGUMENT",
    `${url.href} answers with HTTP status ${status}`,
  );
}

function tooLarge(url: URL): BlixardError {
  return new BlixardError("VALUE_TOO_LARGE", `${url.href} has more than ${limits.imageBlobBytesMax} bytes`);
}

function unavailable(url: URL, why: string, cause?: unknown): BlixardError {
  return new BlixardError("UNAVAILABLE", `${url.href} cannot be fetched: ${why}`, {
    cause,
    hint: "The same command goes on where this one stopped.",
  });
}

async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

async function sizeOf(path: string): Promise<number> {
  return await stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
