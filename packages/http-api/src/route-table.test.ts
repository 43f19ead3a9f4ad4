import type { IncomingMessage, ServerResponse } from "node:http";
import { errorCodeOf } from "@blixard/common";
import { describe, expect, it } from "@jest/globals";
import { Exchange, jsonAnswer } from "./exchange.ts";
import { RouteTable } from "./route-table.ts";

function exchangeOf(method: string, url: string): Exchange {
  return new Exchange({ method, url, headers: {} } as IncomingMessage, {} as ServerResponse);
}

const table = new RouteTable();
for (const [verb, template, flag] of [
  ["GET", "/"],
  ["GET", "/v1/kv"],
  ["GET", "/v1/kv", "watch"],
  ["GET", "/v1/kv/{key}"],
  ["PUT", "/v1/kv/{key}"],
  ["GET", "/v1/kv/{key}/history"],
  ["GET", "/v1/vms/all/logs"],
  ["GET", "/v1/vms/{name}/logs/{part}"],
] as const) {
  table.add(verb, template, async () => jsonAnswer(`${verb} ${template} ${flag ?? ""}`.trim()), flag);
}

async function found(method: string, url: string): Promise<readonly [unknown, object] | undefined> {
  const exchange = exchangeOf(method, url);
  const route = table.find(exchange);
  return route === undefined ? undefined : [JSON.parse(`${(await route.handle(exchange)).body}`), exchange.params];
}

describe("RouteTable", () => {
  it("finds the route of a verb and a path, with the parts that its template names", async () => {
    expect(await found("GET", "/")).toEqual(["GET /", {}]);
    expect(await found("PUT", "/v1/kv/a?x=1")).toEqual(["PUT /v1/kv/{key}", { key: "a" }]);
    expect(await found("HEAD", "/v1/kv/a")).toEqual(["GET /v1/kv/{key}", { key: "a" }]);
    expect(await found("GET", "/v1/vms/web/logs/2")).toEqual([
      "GET /v1/vms/{name}/logs/{part}",
      { name: "web", part: "2" },
    ]);
    // A text that is known goes first, and does not hide what only a parameter leads to.
    expect(await found("GET", "/v1/vms/all/logs")).toEqual(["GET /v1/vms/all/logs", {}]);
    expect(await found("GET", "/v1/vms/all/logs/2")).toEqual([
      "GET /v1/vms/{name}/logs/{part}",
      { name: "all", part: "2" },
    ]);
  });

  it("reads percent-encoding part by part, so that an encoded slash ends none", async () => {
    expect(await found("GET", "/v1/kv/a%2Fb")).toEqual(["GET /v1/kv/{key}", { key: "a/b" }]);
    expect(await found("GET", "/v1/%6bv/%C3%A4")).toEqual(["GET /v1/kv/{key}", { key: "ä" }]);
    expect(await found("GET", "/v1%2Fkv")).toBeUndefined();
  });

  it("takes the route of a flag for GET alone", async () => {
    expect(await found("GET", "/v1/kv?watch=true")).toEqual(["GET /v1/kv watch", {}]);
    expect(await found("GET", "/v1/kv?watch=false")).toEqual(["GET /v1/kv", {}]);
    expect(await found("HEAD", "/v1/kv?watch=true")).toEqual(["GET /v1/kv", {}]);
  });

  it.each(["/v1/kv/", "//", "/v1/kv//history", "/v1/kv/a/", "/v1/nothing", "/v1/kv/a/b", "/v1/../v1/kv", "*"])(
    "has no route for %s",
    async (url) => {
      expect(await found("GET", url)).toBeUndefined();
      expect(table.templateOf(url)).toBe("other");
      let code: unknown;
      try {
        table.refuse(exchangeOf("GET", url));
      } catch (error) {
        code = errorCodeOf(error);
      }
      expect(code).toBe("NOT_FOUND");
    },
  );

  it("says what a path takes", () => {
    const exchange = exchangeOf("DELETE", "/v1/kv/a");
    expect(table.find(exchange)).toBeUndefined();
    expect(() => table.refuse(exchange)).toThrow("/v1/kv/a does not take DELETE");
    expect(exchange.ownHeaders).toEqual({ allow: "GET, PUT" });
    expect(table.templateOf("/v1/kv/a")).toBe("/v1/kv/{key}");
  });
});

describe("Exchange", () => {
  it("reads the first of several values, and names that every object has", () => {
    const exchange = exchangeOf("GET", "/v1/kv?a=1&a=2&b=x+y%26&__proto__=p&constructor=c");
    expect(exchange.path).toBe("/v1/kv");
    expect([exchange.query("a"), exchange.query("b"), exchange.query("toString")]).toEqual(["1", "x y&", undefined]);
    expect(Object.keys(exchange.queryFields())).toEqual(["a", "b", "__proto__", "constructor"]);
  });

  it("takes a whole URL for its path, and nothing else that is no path", () => {
    expect(exchangeOf("GET", "http://node.example/v1/kv?a=1")).toMatchObject({ path: "/v1/kv" });
    for (const url of ["v1/kv", "ftp://node.example/", "http://"]) {
      expect(() => exchangeOf("GET", url)).toThrow("the target of the request is no path");
    }
  });
});
