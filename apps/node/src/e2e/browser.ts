/** A real browser for the page of a node. One that is missing is a failure. */
import { findProgram } from "@blixard/vm-manager/testing";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";

export async function startBrowser(): Promise<Browser> {
  const executablePath = findProgram("chromium");
  if (executablePath === undefined) throw new Error("Chromium is missing: apt-get install chromium");
  // Its own sandbox does not start as root, as in containers.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
}

/** A page, and what went wrong in it: errors of scripts, breaches of its policy, and requests to anybody else. */
export class WatchedPage {
  readonly page: Page;
  readonly wrong: string[] = [];
  readonly #context: BrowserContext;

  private constructor(page: Page, context: BrowserContext, origin: string) {
    this.page = page;
    this.#context = context;
    page.on("pageerror", (error) => this.wrong.push(`error: ${error.message}`));
    page.on("console", (message) => {
      // What the node refuses is said there too.
      if (message.type() === "error" && !/Failed to load resource|WebSocket/.test(message.text())) {
        this.wrong.push(`console: ${message.text()}`);
      }
    });
    page.on("request", (request) => {
      if (new URL(request.url()).origin !== origin) this.wrong.push(`request to ${request.url()}`);
    });
  }

  static async open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<WatchedPage> {
    const context = await browser.newContext({ viewport: { width: 1_200, height: 800 }, ...options });
    const page = await context.newPage();
    const watched = new WatchedPage(page, context, new URL(url).origin);
    await page.goto(url);
    return watched;
  }

  /** By the menu. */
  async view(name: string): Promise<void> {
    await this.page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  }

  /** By the token, in the form. */
  async logIn(token: string): Promise<void> {
    await this.page.getByLabel("Token").fill(token);
    await this.page.getByRole("button", { name: "Log in" }).click();
  }

  close(): Promise<void> {
    return this.#context.close();
  }
}
