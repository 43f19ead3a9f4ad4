/** The routes that exist, for answers about those that do not, and for labels of metrics. */

import { nearest, notApplied } from "@blixard/common";
import type { HttpVerb } from "@blixard/protocol";
import type { HttpContext } from "./http-context.ts";

export class RouteList {
  readonly #verbs = new Map<string, Set<string>>();
  readonly #patterns = new Map<string, RegExp>();

  add(verb: HttpVerb, template: string): void {
    const verbs = this.#verbs.get(template) ?? new Set();
    verbs.add(verb);
    this.#verbs.set(template, verbs);
    if (!this.#patterns.has(template)) {
      this.#patterns.set(template, new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`));
    }
  }

  /** The template that a path belongs to; `other` for none, so that labels stay few. */
  templateOf(path: string): string {
    for (const [template, pattern] of this.#patterns) if (pattern.test(path)) return template;
    return "other";
  }

  /** @throws METHOD_NOT_ALLOWED when the path exists with other verbs, else NOT_FOUND */
  refuse(request: HttpContext): never {
    const { path, method } = request.req;
    const verbs = this.#verbs.get(this.templateOf(path));
    if (verbs !== undefined) {
      const allowed = [...verbs].join(", ");
      request.header("allow", allowed);
      throw notApplied("METHOD_NOT_ALLOWED", `${path} does not take ${method}`, {
        hint: `It takes ${allowed}.`,
      });
    }
    const near = nearest(path, this.#verbs.keys());
    throw notApplied("NOT_FOUND", `there is no route ${path}`, {
      hint: near === undefined ? "The routes stand in /v1/openapi.json." : `Did you mean ${near}?`,
    });
  }
}
