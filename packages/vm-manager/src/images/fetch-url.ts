/**
 * Fetches a URL for somebody who asked this node to. A connection goes to the address that was checked, and to no other one
 * that its name has a moment later; so does each redirect. What comes is bounded in length and in time.
 */
import { lookup as systemLookup } from "node:dns/promises";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import { BlixardError, reasonOf } from "@blixard/common";
import { systemClock } from "@blixard/common/system";
import { limits } from "@blixard/protocol";
import { isPublicAddress } from "./public-address.ts";

const urlFetchLimits = { redirectsMax: 5, stallMs: 30_000, wholeMs: 3_600_000 } as const;

export interface UrlFetchDeps {
  /** The addresses of a name, the best first. */
  readonly lookup: (host: string) => Promise<readonly string[]>;
  readonly isAllowed: (address: string) => boolean;
  readonly stallMs: number;
}

const systemDeps: UrlFetchDeps = {
  lookup: async (host) => (await systemLookup(host, { all: true })).map(({ address }) => address),
  isAllowed: isPublicAddress,
  stallMs: urlFetchLimits.stallMs,
};

export interface UrlContent {
  /** Undefined where the server does not say. */
  readonly sizeBytes: number | undefined;
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** @throws INVALID_ARGUMENT, PERMISSION_DENIED for an address that is not allowed, UNAVAILABLE, VALUE_TOO_LARGE */
export async function fetchUrl(
  text: string,
  signal: AbortSignal,
  deps: UrlFetchDeps = systemDeps,
): Promise<UrlContent> {
  let url = parseUrl(text);
  for (let redirects = 0; redirects <= urlFetchLimits.redirectsMax; redirects++) {
    const answer = await open(url, signal, deps);
    const { statusCode = 0, headers } = answer;
    if (statusCode === 200) return contentOf(url, answer, signal, deps);
    answer.destroy();
    const target = headers.location;
    if (statusCode < 300 || statusCode >= 400 || target === undefined) {
      throw new BlixardError("UNAVAILABLE", `${url.host} answers with HTTP status ${statusCode}`);
    }
    const next = parseUrl(URL.canParse(target, url.href) ? new URL(target, url).href : target);
    if (url.protocol === "https:" && next.protocol !== "https:") {
      throw new BlixardError("PERMISSION_DENIED", `${url.host} leads from https to http`);
    }
    url = next;
  }
  throw new BlixardError("UNAVAILABLE", `more than ${urlFetchLimits.redirectsMax} redirects`);
}

function parseUrl(text: string): URL {
  const url = text.length <= limits.blobUrlLengthMax && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== "" || url.password !== "") {
    throw new BlixardError("INVALID_ARGUMENT", "the URL is no http or https URL without a user in it");
  }
  return url;
}

async function open(url: URL, signal: AbortSignal, deps: UrlFetchDeps): Promise<IncomingMessage> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const address = await allowedAddress(host, deps);
  const isTls = url.protocol === "https:";
  const options = {
    host: address,
    port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    headers: { host: url.host, "accept-encoding": "identity" },
    agent: false,
    timeout: deps.stallMs,
    signal,
    // The certificate is that of the name, whatever address was connected to.
    ...(isTls && isIP(host) === 0 ? { servername: host } : {}),
  };
  return await new Promise((resolve, reject) => {
    const request = (isTls ? requestHttps : requestHttp)(options, resolve);
    request.once("timeout", () => request.destroy(new Error(`nothing came for ${deps.stallMs} ms`)));
    request.once("error", (error) => {
      if (signal.aborted) reject(signal.reason);
      else
        reject(new BlixardError("UNAVAILABLE", `${url.host} cannot be reached: ${reasonOf(error)}`, { cause: error }));
    });
    request.end();
  });
}

/** One that is not allowed refuses the name, also beside others that are. */
async function allowedAddress(host: string, { lookup, isAllowed }: UrlFetchDeps): Promise<string> {
  const addresses = isIP(host) === 0 ? await resolve(host, lookup) : [host];
  const [first] = addresses;
  if (first !== undefined && addresses.every(isAllowed)) return first;
  throw new BlixardError(
    "PERMISSION_DENIED",
    `${host} is no address of the public Internet: a node does not fetch from it`,
    {
      hint: "Import it without --on-node: then your machine fetches it.",
    },
  );
}

async function resolve(host: string, lookup: UrlFetchDeps["lookup"]): Promise<readonly string[]> {
  try {
    return await lookup(host);
  } catch (error) {
    throw new BlixardError("UNAVAILABLE", `${host} has no address: ${reasonOf(error)}`, { cause: error });
  }
}

function contentOf(url: URL, answer: IncomingMessage, signal: AbortSignal, deps: UrlFetchDeps): UrlContent {
  const length = Number(answer.headers["content-length"] ?? Number.NaN);
  const sizeBytes = Number.isSafeInteger(length) ? length : undefined;
  if ((sizeBytes ?? 0) > limits.imageBlobBytesMax) {
    answer.destroy();
    throw new BlixardError("VALUE_TOO_LARGE", `${url.host} would send ${sizeBytes} bytes`);
  }
  return { sizeBytes, chunks: chunksOf(url, answer, signal, deps) };
}

async function* chunksOf(url: URL, answer: IncomingMessage, signal: AbortSignal, { stallMs }: UrlFetchDeps) {
  const end = (why: string) => answer.destroy(new Error(why));
  const whole = systemClock.setTimer(urlFetchLimits.wholeMs, () => end("it takes too long"));
  let stall = systemClock.setTimer(stallMs, () => end(`nothing came for ${stallMs} ms`));
  try {
    for await (const chunk of answer) {
      stall.cancel();
      yield chunk as Uint8Array;
      stall = systemClock.setTimer(stallMs, () => end(`nothing came for ${stallMs} ms`));
    }
  } catch (error) {
    signal.throwIfAborted();
    throw new BlixardError("UNAVAILABLE", `${url.host} broke off: ${reasonOf(error)}`, { cause: error });
  } finally {
    stall.cancel();
    whole.cancel();
    answer.destroy();
  }
}
