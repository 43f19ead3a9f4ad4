// Makes the pictures of the page in docs/images from a real cluster, in Chromium: `node apps/dashboard/screenshots.mjs`, after a
// build. Not a part of any test.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../../", import.meta.url));
const child = spawn(process.execPath, [`${root}apps/node/dist/bundle/main.js`, "dev"], {
  stdio: ["ignore", "ignore", "pipe"],
});

/** The address of the page, when the cluster runs. */
function address() {
  return new Promise((resolve, reject) => {
    child.once("close", (code) => reject(new Error(`the cluster ended with exit code ${code}`)));
    createInterface({ input: child.stderr }).on("line", (line) => {
      const found = /http:\S+#login=\S+/.exec(line)?.[0];
      if (found !== undefined) resolve(found);
    });
  });
}

/** Waits for what the picture is about, and takes it. */
async function take(page, name, what) {
  await what.waitFor({ timeout: 60_000 });
  await page.screenshot({ path: `${root}docs/images/${name}.png` });
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  const context = await browser.newContext({ viewport: { width: 1000, height: 720 } });
  const page = await context.newPage();
  await page.goto(await address());
  const open = (name) => page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  await open("Nodes");
  await take(page, "page-nodes", page.getByRole("img", { name: "Map of the nodes" }));
  await open("VMs");
  await page.getByRole("link", { name: "hello" }).click();
  await page.emulateMedia({ colorScheme: "dark" });
  await take(page, "page", page.getByRole("log").getByText("tick 5", { exact: true }));
} finally {
  await browser.close();
  child.kill("SIGINT");
}
