/**
 * The page of a node in a real browser, on a real cluster: who gets in, a VM made by clicking, its console, what a viewer is
 * offered, what strangers write, and a node that is killed.
 */
import type { BlixardClient } from "@blixard/client";
import { ProcessCluster } from "@blixard/testing";
import { afterAll, beforeAll, describe, expect, it } from "@jest/globals";
import type { Browser, Route } from "playwright-core";
import { builtBinary } from "./binary.ts";
import { startBrowser, WatchedPage } from "./browser.ts";
import { runBinary } from "./run-binary.ts";

const patienceMs = 120_000;
const views = ["Overview", "Nodes", "VMs", "Images", "Operations"];
const markup = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>`;

let cluster: ProcessCluster;
let client: BlixardClient;
let browser: Browser;
let admin: WatchedPage;
/** The page is that of node 1; the VM is on another one. */
const home = () => cluster.node(1).ready.http;

beforeAll(async () => {
  [cluster, browser] = await Promise.all([
    ProcessCluster.start({ binary: builtBinary(), flags: ["--vm-driver", "qemu"] }),
    startBrowser(),
  ]);
  client = cluster.client(1);
});

afterAll(async () => {
  client?.close();
  await browser?.close();
  await cluster?.close();
});

const text = (watched: WatchedPage, words: string | RegExp) =>
  watched.page.getByText(words).first().waitFor({ timeout: patienceMs });
const row = (watched: WatchedPage, name: string) => watched.page.getByRole("row").filter({ hasText: name });

const running = () => row(admin, "web").getByText("Running", { exact: true });

describe("the page", () => {
  it("is opened once by its address, which keeps no secret, and by the token of the tab from then on", async () => {
    const { stdout } = await runBinary(["page", "--data-dir", cluster.node(1).dataDir]);
    const address = stdout.trim();
    expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#login=[0-9a-f]{64}$/);
    admin = await WatchedPage.open(browser, address);
    await text(admin, "Nothing needs attention.");
    expect(admin.page.url()).toBe(`${home()}/`);
    await admin.page.reload();
    await text(admin, "Nothing needs attention.");
    const again = await WatchedPage.open(browser, address);
    await text(again, "this login was used already, or is too old");
    await again.logIn("wrong");
    await text(again, "the token is not known");
    expect(await again.page.evaluate("sessionStorage.length")).toBe(0);
    expect(again.wrong).toEqual([]);
    await again.close();
  });

  it("makes a VM by clicking, and says why where it cannot", async () => {
    const { page } = admin;
    await admin.view("VMs");
    await page.getByRole("button", { name: "Create" }).click();
    const dialog = page.getByRole("dialog", { name: "Create a VM" });
    await dialog.getByLabel("Name").fill("web");
    await dialog.getByLabel("Image").selectOption("demo");
    await dialog.getByLabel("Memory").fill("1");
    await dialog.getByRole("button", { name: "Create" }).click();
    await dialog.getByRole("alert").waitFor();
    await dialog.getByLabel("Memory").fill("32");
    await dialog.getByRole("button", { name: "Create" }).click();
    await running().waitFor({ timeout: patienceMs });
    expect((await client.vms.get("web")).spec).toMatchObject({ image: "demo", vcpus: 1, memoryMiB: 32 });
  });

  it("shows its console and types into it", async () => {
    const { page } = admin;
    await page.getByRole("link", { name: "web" }).click();
    const output = page.getByRole("log", { name: "Output of web" });
    await output.getByText("nano guest ready").waitFor({ timeout: patienceMs });
    const input = page.getByRole("textbox", { name: "Input of web" });
    await input.pressSequentially(`echo ${markup}`);
    await input.press("Enter");
    await output.getByText("window.hit=1").first().waitFor({ timeout: patienceMs });
    expect(await page.locator("img, main script").count()).toBe(0);
  });

  it("moves it to another node, and shows how far that is", async () => {
    const { page } = admin;
    const to = (await client.vms.get("web")).node === 2 ? 3 : 2;
    await page.getByRole("button", { name: "Move" }).click();
    const dialog = page.getByRole("dialog", { name: "Move VM web?" });
    await dialog.getByLabel("To").selectOption(String(to));
    await dialog.getByRole("button", { name: "Move" }).click();
    await admin.view("Operations");
    await row(admin, "vm-migrate").getByText("done", { exact: true }).waitFor({ timeout: patienceMs });
    await client.vms.waitFor("web", `on node ${to}`, ({ node, phase }) => node === to && phase === "Running", {
      timeoutMs: patienceMs,
    });
  });

  it("offers a viewer what a viewer may do", async () => {
    const { token } = await client.tokens.create({ role: "viewer" });
    const viewer = await WatchedPage.open(browser, `${home()}/#/vms`);
    await viewer.logIn(token);
    await row(viewer, "web").waitFor({ timeout: patienceMs });
    expect(await viewer.page.getByRole("button").allTextContents()).toEqual(["To the content", "Log out"]);
    await viewer.page.getByRole("link", { name: "web" }).click();
    await viewer.page.getByRole("log").getByText("nano guest ready").waitFor({ timeout: patienceMs });
    expect(await viewer.page.getByRole("textbox").count()).toBe(0);
    await viewer.view("Nodes");
    await row(viewer, "n1").first().waitFor();
    expect(await viewer.page.getByRole("button", { name: "Drain" }).count()).toBe(0);
    await viewer.page.getByRole("button", { name: "Log out" }).click();
    await viewer.page.getByLabel("Token").waitFor();
    expect(await viewer.page.evaluate("sessionStorage.length")).toBe(0);
    expect(viewer.wrong).toEqual([]);
    await viewer.close();
  });

  it("shows what strangers write as text, whatever a node answers", async () => {
    const hostile = await WatchedPage.open(browser, home());
    await hostile.logIn(cluster.token);
    await text(hostile, "Nothing needs attention.");
    await hostile.page.route("**/v1/**", answerWithMarkup);
    for (const view of [...views, "VMs"]) {
      await hostile.view(view);
      await text(hostile, /window\.hit=1/);
    }
    await hostile.page.route("**/v1/**", (route) =>
      route.fulfill({ status: 503, json: { error: { code: markup, message: markup, hint: markup } } }),
    );
    await hostile.view("Images");
    await hostile.page.getByRole("alert").getByText("window.hit=1").first().waitFor({ timeout: patienceMs });
    expect(await hostile.page.evaluate('"hit" in window')).toBe(false);
    expect(await hostile.page.locator("img, main script").count()).toBe(0);
    expect(hostile.wrong).toEqual([]);
    await hostile.close();
  });

  it.each(["light", "dark"] as const)(
    "fits a narrow screen, %s, with a name for whatever is used",
    async (colorScheme) => {
      const narrow = await WatchedPage.open(browser, home(), { viewport: { width: 400, height: 800 }, colorScheme });
      await narrow.logIn(cluster.token);
      for (const view of views) {
        await narrow.view(view);
        await narrow.page.locator("main :is(table, .facts, p)").first().waitFor({ timeout: patienceMs });
        expect(await narrow.page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(400);
        expect(await narrow.page.evaluate(namelessElements)).toEqual([]);
      }
      await narrow.page.keyboard.press("Tab");
      const back = await narrow.page.evaluate("getComputedStyle(document.body).backgroundColor");
      expect(back).toBe(colorScheme === "dark" ? "rgb(20, 24, 26)" : "rgb(246, 247, 247)");
      expect(narrow.wrong).toEqual([]);
      await narrow.close();
    },
  );

  it("follows a node that is killed, and the VM that starts elsewhere", async () => {
    const away = (await client.vms.get("web")).node ?? 0;
    expect([2, 3]).toContain(away);
    // A new leader waits for the lease anew, and tells nothing of it before it knows.
    if ((await cluster.waitForLeader()) !== 1) await client.cluster.transferLeader(1);
    await cluster.waitFor("node 1 to lead", ({ leaderId }) => leaderId === 1);
    await admin.view("VMs");
    await running().waitFor({ timeout: patienceMs });
    await cluster.kill(away);
    await row(admin, "web")
      .getByText(/starts on node \d in \d+ s/)
      .waitFor({ timeout: patienceMs });
    await running().waitFor({ timeout: patienceMs });
    await client.vms.waitFor("web", "elsewhere", ({ node, phase }) => node !== away && phase === "Running", {
      timeoutMs: patienceMs,
    });
    await admin.view("Nodes");
    await row(admin, `n${away}`).getByText("unreachable").first().waitFor({ timeout: patienceMs });
    await cluster.kill(1);
    await text(admin, "the node does not answer");
    await text(admin, "Other nodes serve this page too");
    expect(admin.wrong).toEqual([]);
  });
});

/** The answer of the node, with markup in the place of each text that is no word of the contract. */
async function answerWithMarkup(route: Route): Promise<void> {
  const answer = await route.fetch();
  const body = await answer.json().catch(() => undefined);
  if (body === undefined) return await route.fulfill({ response: answer });
  await route.fulfill({ response: answer, json: withMarkup(body, "") });
}

const kept = new Set(["role", "next", "kind", "onNodeLoss"]);

function withMarkup(value: unknown, field: string): unknown {
  if (typeof value === "string") return kept.has(field) ? value : markup;
  if (Array.isArray(value)) return value.map((item) => withMarkup(item, field));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withMarkup(item, key)]));
}

/** What a person can use and a screen reader cannot name, as the page says. */
const namelessElements = `
  [...document.querySelectorAll("a, button, input, select, textarea, meter, progress, table, [tabindex='0']")]
    .filter((element) => {
      const name = element.getAttribute("aria-label") ?? (element.labels?.[0]?.textContent || element.textContent || "");
      return name.trim() === "";
    })
    .map((element) => element.outerHTML)`;
