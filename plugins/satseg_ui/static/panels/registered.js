// The registered versions, asked for once for all panels that are drawn at the same time.

import { read } from "../parts/api.js";

const FRESH_MS = 1000;
const asked = new Map();

/** Return the list of versions, newest first. */
export function registered(context) {
  const known = asked.get(context.project);
  if (known && Date.now() - known.time < FRESH_MS) return known.list;
  const list = read(["projects", context.project, "models"], { limit: 100 });
  asked.set(context.project, { list, time: Date.now() });
  list.catch(() => asked.delete(context.project));
  return list;
}

/** Return all that is known of the version with an alias; null when no version has it. */
export async function withAlias(context, alias) {
  const { items } = await registered(context);
  const row = items.find((one) => one.aliases.includes(alias));
  return row ? read(["projects", context.project, "models", row.version]) : null;
}
