import { describe, expect, it } from "@jest/globals";
import { CloseStack } from "./close-stack.ts";
import { type Logger, silentLogger } from "./logger.ts";

describe("CloseStack", () => {
  const open = (logged: string[] = []) => {
    const log: Logger["log"] = (_, message, fields) => logged.push(`${message}: ${fields?.["part"]}`);
    return new CloseStack<{ readonly how: string }>({ ...silentLogger, log });
  };

  it("closes once, in the reverse order, and tells each part how", async () => {
    const opened = open();
    const closed: string[] = [];
    for (const what of ["store", "port"]) {
      opened.add(what, async ({ how }) => closed.push(`${what} ${how}`));
    }
    await opened.close({ how: "soon" });
    await opened.close({ how: "again" });
    expect(closed).toEqual(["port soon", "store soon"]);
  });

  it("leaves out a part that was taken off", async () => {
    const opened = open();
    const closed: string[] = [];
    const release = opened.add("store", () => closed.push("store"));
    opened.add("port", () => closed.push("port"));
    release();
    await opened.close({ how: "soon" });
    expect(closed).toEqual(["port"]);
  });

  it("closes the rest when a part fails, logs each failure and throws the first", async () => {
    const logged: string[] = [];
    const opened = open(logged);
    const closed: string[] = [];
    opened.add("store", () => closed.push("store"));
    opened.add("disk", () => Promise.reject(new Error("disk")));
    opened.add("port", () => {
      throw new Error("port");
    });
    await expect(opened.close({ how: "soon" })).rejects.toThrow("port");
    expect(closed).toEqual(["store"]);
    expect(logged).toEqual(["a part could not be closed: port", "a part could not be closed: disk"]);
  });
});
