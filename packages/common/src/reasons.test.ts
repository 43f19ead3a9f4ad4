import { describe, expect, it } from "@jest/globals";
import { reasonOf } from "./reasons.ts";

const failure = (code: string, message: string) => Object.assign(new Error(message), { code });

describe("reasonOf", () => {
  it.each([
    [failure("ENOENT", "ENOENT: no such file or directory, open '/x'"), "it does not exist"],
    [failure("ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:9"), "nothing listens there"],
    [failure("ERR_OSSL_PEM_NO_START_LINE", "error:0480006C:PEM routines::no start line"), "it is no PEM file"],
    [failure("EPROTO", "error:0A00010B:SSL routines::wrong version number:../x.c:354:"), "it does not speak TLS"],
    [
      failure("ERR_OSSL_X", "error:05800074:x509 certificate routines::key values mismatch"),
      "the key is not that of the certificate",
    ],
    [
      failure("ERR_SSL_X", "error:0A000410:SSL routines::ssl/tls alert handshake failure"),
      "ssl/tls alert handshake failure",
    ],
    [new SyntaxError("Expected property name or '}' in JSON at position 2"), "it is not JSON"],
    [
      failure("LEVEL_IO_ERROR", "IO error: /d/log/000005.ldb: Too many open files"),
      "/d/log/000005.ldb: this process has too many files open",
    ],
    [new Error("something else"), "something else"],
  ])("says %s in words: %s", (error, words) => {
    expect(reasonOf(error)).toBe(words);
  });

  it("says what a schema found, field by field", () => {
    const issues = [
      {
        code: "too_big",
        path: ["limit"],
        maximum: 10,
        origin: "number",
        message: "Too big: expected number to be <=10",
      },
      { code: "too_small", path: ["key"], minimum: 1, origin: "string", message: "Too small: expected string" },
      {
        code: "invalid_type",
        path: ["a", 0],
        expected: "string",
        message: "Invalid input: expected string, received undefined",
      },
      { code: "invalid_type", path: ["b"], expected: "int", message: "Invalid input: expected int, received number" },
      { code: "unrecognized_keys", path: [], keys: ["x"], message: 'Unrecognized key: "x"' },
      { code: "invalid_format", path: ["name"], message: "use lower-case letters" },
    ];
    expect(reasonOf({ name: "ZodError", message: "[...]", issues })).toBe(
      'limit: must be at most 10; key: must not be empty; a.0: is missing; b: must be a whole number; there is no field "x" here',
    );
  });
});
