/** The page of a node: files that were built beforehand, kept in memory, so that no request reaches the file system. */
import { createHash } from "node:crypto";
import { notApplied } from "@blixard/common";
import type { Answer, Exchange } from "./exchange.ts";
import type { PageFiles } from "./http-types.ts";
import { addNodeRoute, type RouteContext } from "./route-context.ts";

/** Nothing inline, nothing from elsewhere, no markup made from text; and nobody may put it into a frame. */
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const mediaTypes: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

interface ServedFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mediaType: string;
  readonly etag: string;
}

export function addPageRoutes(context: RouteContext): void {
  const files = served(context.deps.page ?? new Map());
  addNodeRoute(context, "page", async (exchange) => {
    const index = files.get("index.html");
    if (index === undefined) {
      throw notApplied("NOT_FOUND", "this node has no page", { hint: "The routes stand in /v1/openapi.json." });
    }
    exchange.setHeader("content-security-policy", contentSecurityPolicy);
    exchange.setHeader("referrer-policy", "no-referrer");
    exchange.setHeader("cross-origin-opener-policy", "same-origin");
    return answerFile(exchange, index, "no-cache");
  });
  addNodeRoute(context, "pageFile", async (exchange) => {
    const file = files.get(`assets/${exchange.params["file"] ?? ""}`);
    if (file === undefined) {
      throw notApplied("NOT_FOUND", `the page has no file ${exchange.path}`, { hint: "Load the page again." });
    }
    return answerFile(exchange, file, "public, max-age=31536000, immutable");
  });
}

function served(files: PageFiles): ReadonlyMap<string, ServedFile> {
  return new Map(
    [...files].map(([path, bytes]) => {
      const mediaType = mediaTypes[path.replace(/^.*\./, "")] ?? "application/octet-stream";
      const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"`;
      return [path, { bytes, mediaType, etag }];
    }),
  );
}

function answerFile(exchange: Exchange, { bytes, mediaType, etag }: ServedFile, caching: string): Answer {
  exchange.setHeader("cache-control", caching);
  exchange.setHeader("etag", etag);
  const known = (exchange.header("if-none-match") ?? "").split(",").map((text) => text.trim().replace(/^W\//, ""));
  return known.includes(etag)
    ? { status: 304, type: mediaType, body: "" }
    : { status: 200, type: mediaType, body: bytes };
}
