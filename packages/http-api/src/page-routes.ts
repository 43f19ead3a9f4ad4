/** The page of a node: files that were built beforehand, kept in memory, so that no request reaches the file system. */
import { createHash } from "node:crypto";
import { notApplied } from "@blixard/common";
import type { HttpContext } from "./http-context.ts";
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
  addNodeRoute(context, "page", async (request) => {
    const index = files.get("index.html");
    if (index === undefined) {
      throw notApplied("NOT_FOUND", "this node has no page", { hint: "The routes stand in /v1/openapi.json." });
    }
    request.header("content-security-policy", contentSecurityPolicy);
    request.header("referrer-policy", "no-referrer");
    request.header("cross-origin-opener-policy", "same-origin");
    return answerFile(request, index, "no-cache");
  });
  addNodeRoute(context, "pageFile", async (request) => {
    const file = files.get(`assets/${request.req.param("file")}`);
    if (file === undefined) {
      throw notApplied("NOT_FOUND", `the page has no file ${request.req.path}`, { hint: "Load the page again." });
    }
    return answerFile(request, file, "public, max-age=31536000, immutable");
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

function answerFile(request: HttpContext, { bytes, mediaType, etag }: ServedFile, caching: string): Response {
  request.header("cache-control", caching);
  request.header("etag", etag);
  const known = (request.req.header("if-none-match") ?? "").split(",").map((text) => text.trim().replace(/^W\//, ""));
  if (known.includes(etag)) return request.body(null, 304);
  return request.body(bytes, 200, { "content-type": mediaType });
}
