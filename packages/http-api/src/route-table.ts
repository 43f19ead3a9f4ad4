/** The routes that exist: which of them a request takes, and what is said about a request that takes none. */
import { nearest, notApplied } from "@blixard/common";
import type { HttpVerb } from "@blixard/protocol";
import type { Answer, Exchange } from "./exchange.ts";

export type Handle = (exchange: Exchange) => Promise<Answer>;

export interface Route {
  /** The path with the names of its parameters: `/v1/kv/{key}`. */
  readonly template: string;
  readonly handle: Handle;
}

/** What stands at one template. */
interface Place {
  readonly template: string;
  readonly names: readonly string[];
  readonly routes: Map<string, Route>;
  /** Routes that are taken by GET with a flag in the query, in place of the one without it. */
  readonly flagged: { readonly flag: string; readonly route: Route }[];
}

/** One part of a path, and what may follow. A text that is known goes before a parameter. */
interface Branch {
  readonly texts: Map<string, Branch>;
  parameter: Branch | undefined;
  place: Place | undefined;
}

export class RouteTable {
  readonly #root = newBranch();
  readonly #places = new Map<string, Place>();

  /** `flag`: the route is for GET with `?flag=true`. */
  add(verb: HttpVerb, template: string, handle: Handle, flag?: string): void {
    const place = this.#places.get(template) ?? this.#newPlace(template);
    const route = { template, handle };
    if (flag === undefined) place.routes.set(verb, route);
    else place.flagged.push({ flag, route });
  }

  /** The route of a request, which gets the parameters of its path. HEAD is answered as GET, whose body is not sent. */
  find(exchange: Exchange): Route | undefined {
    const values: string[] = [];
    const place = this.#placeOf(exchange.path, values);
    if (place === undefined) return undefined;
    if (values.length > 0) {
      exchange.params = Object.fromEntries(place.names.map((name, at) => [name, values[at] ?? ""]));
    }
    const { verb } = exchange;
    if (verb === "GET") {
      const flagged = place.flagged.find(({ flag }) => exchange.query(flag) === "true");
      if (flagged !== undefined) return flagged.route;
    }
    return place.routes.get(verb === "HEAD" ? "GET" : verb);
  }

  /** The template that a path belongs to; `other` for none, so that labels stay few. */
  templateOf(path: string): string {
    return this.#placeOf(path, [])?.template ?? "other";
  }

  /** @throws METHOD_NOT_ALLOWED when the path exists with other verbs, else NOT_FOUND */
  refuse(exchange: Exchange): never {
    const { path, verb } = exchange;
    const place = this.#placeOf(path, []);
    if (place !== undefined) {
      const allowed = [...new Set([...place.routes.keys(), ...place.flagged.map(() => "GET")])].join(", ");
      exchange.setHeader("allow", allowed);
      throw notApplied("METHOD_NOT_ALLOWED", `${path} does not take ${verb}`, { hint: `It takes ${allowed}.` });
    }
    const near = nearest(path, this.#places.keys());
    throw notApplied("NOT_FOUND", `there is no route ${path}`, {
      hint: near === undefined ? "The routes stand in /v1/openapi.json." : `Did you mean ${near}?`,
    });
  }

  #newPlace(template: string): Place {
    const names: string[] = [];
    let branch = this.#root;
    for (const part of partsOf(template)) {
      const name = /^\{(\w+)\}$/.exec(part)?.[1];
      if (name !== undefined) {
        names.push(name);
        branch.parameter ??= newBranch();
        branch = branch.parameter;
      } else {
        const next = branch.texts.get(part) ?? newBranch();
        branch.texts.set(part, next);
        branch = next;
      }
    }
    const place: Place = { template, names, routes: new Map(), flagged: [] };
    branch.place = place;
    this.#places.set(template, place);
    return place;
  }

  #placeOf(path: string, values: string[]): Place | undefined {
    return path.startsWith("/") ? placeIn(this.#root, partsOf(path), 0, values) : undefined;
  }
}

function newBranch(): Branch {
  return { texts: new Map(), parameter: undefined, place: undefined };
}

function partsOf(path: string): string[] {
  return path.slice(1).split("/");
}

function placeIn(branch: Branch, parts: readonly string[], at: number, values: string[]): Place | undefined {
  const part = parts[at];
  if (part === undefined) return branch.place;
  const text = part.includes("%") ? decodeURIComponent(part) : part;
  const next = branch.texts.get(text);
  const found = next === undefined ? undefined : placeIn(next, parts, at + 1, values);
  if (found !== undefined || branch.parameter === undefined || text === "") return found;
  values.push(text);
  const behind = placeIn(branch.parameter, parts, at + 1, values);
  if (behind === undefined) values.pop();
  return behind;
}
