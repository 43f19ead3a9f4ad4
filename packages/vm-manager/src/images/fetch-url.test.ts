import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import { fetchUrl, type UrlFetchDeps } from "./fetch-url.ts";
import { isPublicAddress } from "./public-address.ts";

const forever = new AbortController().signal;
let server: Server;
let port: number;
let answer: (request: IncomingMessage, response: ServerResponse) => void;
let asked: string[];

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(request.headers.host ?? "");
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** The names of a resolver that gives each answer once, and the last one again. */
function depsWith(
  names: Record<string, string[][]>,
  isAllowed = (address: string) => address === "127.0.0.1",
): UrlFetchDeps {
  asked = [];
  const lookup = async (host: string) => {
    const answers = names[host] ?? [];
    return (answers.length > 1 ? answers.shift() : answers[0]) ?? [];
  };
  return { lookup, isAllowed, stallMs: 300 };
}

async function textOf(url: string, deps: UrlFetchDeps): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await fetchUrl(url, forever, deps)).chunks) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe("isPublicAddress", () => {
  const own = Object.values(networkInterfaces()).flatMap((links) => (links ?? []).map(({ address }) => address));

  it.each([
    ...["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"],
    ...[
      "224.0.0.1",
      "255.255.255.255",
      "192.0.2.1",
      "::",
      "::1",
      "::ffff:127.0.0.1",
      "::ffff:8.8.8.8",
      "fe80::1",
      "fe80::1%lo",
    ],
    ...["fd00::1", "ff02::1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:1::", "2001:db8::1", "name", "", ...own],
  ])("refuses %s", (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });

  it.each(["8.8.8.8", "151.101.2.132", "2606:2800:220:1:248:1893:25c8:1946"])("takes %s", (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });
});

describe("fetchUrl", () => {
  it("asks the address that was checked by the name of the URL, and follows redirects", async () => {
    answer = ({ url }, response) => {
      if (url === "/first") response.writeHead(302, { location: `http://two.test:${port}/second` }).end();
      else response.end(`content of ${url}`);
    };
    const deps = depsWith({ "one.test": [["127.0.0.1"]], "two.test": [["127.0.0.1"]] });
    expect(await textOf(`http://one.test:${port}/first`, deps)).toBe("content of /second");
    expect(asked).toEqual([`one.test:${port}`, `two.test:${port}`]);
  });

  it("asks for the address of a name once: what the name becomes later is of no use", async () => {
    answer = (_, response) => response.end("content");
    const rebinding = depsWith({ "bad.test": [["127.0.0.1"], ["127.0.0.2"]] });
    expect(await textOf(`http://bad.test:${port}/`, rebinding)).toBe("content");
    await expect(fetchUrl(`http://bad.test:${port}/`, forever, rebinding)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });

  it.each([
    ["http://127.0.0.2/", "PERMISSION_DENIED"],
    ["http://2130706434/", "PERMISSION_DENIED"],
    ["http://[::1]/", "PERMISSION_DENIED"],
    ["http://both.test/", "PERMISSION_DENIED"],
    ["http://none.test/", "PERMISSION_DENIED"],
    ["http://user:secret@one.test/", "INVALID_ARGUMENT"],
    ["file:///etc/passwd", "INVALID_ARGUMENT"],
    ["gopher://one.test/", "INVALID_ARGUMENT"],
  ])("does not connect to %s", async (url, code) => {
    const deps = depsWith({ "both.test": [["127.0.0.1", "10.0.0.1"]], "one.test": [["127.0.0.1"]] });
    await expect(fetchUrl(url, forever, deps)).rejects.toMatchObject({ code });
    expect(asked).toEqual([]);
  });

  it.each([
    ["a private address", () => `http://10.0.0.1:${port}/`, "PERMISSION_DENIED"],
    ["a name that leads to one", () => `http://inside.test:${port}/`, "PERMISSION_DENIED"],
    ["a file", () => "file:///etc/passwd", "INVALID_ARGUMENT"],
    ["itself for ever", () => "/again", "UNAVAILABLE"],
  ])("does not follow a redirect to %s", async (_, target, code) => {
    answer = (_request, response) => response.writeHead(302, { location: target() }).end();
    const deps = depsWith({ "one.test": [["127.0.0.1"]], "inside.test": [["10.0.0.1"]] });
    await expect(fetchUrl(`http://one.test:${port}/`, forever, deps)).rejects.toMatchObject({ code });
    expect(asked.length).toBeLessThan(8);
  });

  it("ends with a server that says nothing more, or says that it sends too much", async () => {
    answer = (_, response) => response.write("a part");
    const deps = depsWith({ "one.test": [["127.0.0.1"]] });
    await expect(textOf(`http://one.test:${port}/`, deps)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    answer = (_, response) => response.writeHead(200, { "content-length": String(2 ** 40) }).flushHeaders();
    await expect(textOf(`http://one.test:${port}/`, deps)).rejects.toMatchObject({ code: "VALUE_TOO_LARGE" });
  });
});
