import { describe, expect, it } from "@jest/globals";
import { getRequest, isSuccess, parseAnswer, putRequest } from "./dialect.ts";

const to = { host: "127.0.0.1", port: 8001, token: "secret" };

describe("putRequest", () => {
  it("writes ours with its token, and etcd's in base64", () => {
    expect(putRequest("blixard", to, "bench/1/2", "vvv")).toBe(
      "PUT /v1/kv/bench%2F1%2F2 HTTP/1.1\r\nhost: 127.0.0.1:8001\r\nauthorization: Bearer secret\r\n" +
        'content-type: application/json\r\ncontent-length: 15\r\n\r\n{"value":"vvv"}',
    );
    expect(putRequest("etcd", { host: "127.0.0.1", port: 2379 }, "a", "b")).toBe(
      "POST /v3/kv/put HTTP/1.1\r\nhost: 127.0.0.1:2379\r\n" +
        'content-type: application/json\r\ncontent-length: 29\r\n\r\n{"key":"YQ==","value":"Yg=="}',
    );
  });
});

describe("getRequest", () => {
  it("has no body for ours", () => {
    expect(getRequest("blixard", to, "a")).toMatch(/^GET \/v1\/kv\/a HTTP\/1\.1\r\n.*\r\n\r\n$/s);
    expect(getRequest("blixard", to, "a")).not.toContain("content-length");
  });
});

describe("parseAnswer", () => {
  const head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

  it("waits for the whole body", () => {
    expect(parseAnswer("HTTP/1.1 200 OK\r\nContent-")).toBeUndefined();
    expect(parseAnswer(`${head}hell`)).toBeUndefined();
    expect(parseAnswer(`${head}hello`)).toEqual({ status: 200, body: "hello" });
  });

  it("waits for the last chunk", () => {
    const chunked = "HTTP/1.1 429 Too Many\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
    expect(parseAnswer(chunked)).toBeUndefined();
    expect(parseAnswer(`${chunked}0\r\n\r\n`)?.status).toBe(429);
  });
});

describe("isSuccess", () => {
  it("wants a value from a read", () => {
    expect(isSuccess({ status: 200, body: '{"header":{}}' }, true)).toBe(false);
    expect(isSuccess({ status: 200, body: '{"header":{}}' }, false)).toBe(true);
    expect(isSuccess({ status: 429, body: '{"value":1}' }, true)).toBe(false);
  });
});
