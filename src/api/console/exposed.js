// Who was exposed to a campaign, page by page.

import { at, get } from "./api.js";
import { fill, h, link } from "./dom.js";
import { button, mark, nothing, number, region, table, time } from "./parts.js";

const PAGE = 50;

export function exposed(page) {
  const { place } = region(page.signal, async (signal) => {
    /** By id: while others are being reached the worker may tell one twice. */
    const users = new Map();
    const rows = h("div");
    await more(null);
    return rows;

    /** A page may be empty and not the last: where few were reached, many are looked at in vain. */
    async function more(cursor) {
      let part = { users: [], next: cursor };
      do {
        part = await get(at("campaigns", page.key, "users"), { outcome: "sent", limit: PAGE, cursor: part.next }, signal);
      } while (part.users.length === 0 && part.next);
      for (const user of part.users) users.set(user.user_id, user);
      fill(
        rows,
        drawn([...users.values()]),
        part.next &&
          h(
            "p",
            button("Show more", () => more(part.next)),
          ),
      );
    }
  });
  return h("section", { class: "card" }, h("h2", "Who got it"), place);
}

function drawn(users) {
  if (users.length === 0) return nothing("Nobody yet.", "Users appear here once something was sent to them.");
  const row = ({ user_id, at, times, arm }) => [link(user_id, "users", user_id), time(at), number(times), mark(arm)];
  return table(
    "Users",
    [
      ["User", "wide"],
      ["Last", ""],
      ["Times", "number"],
      ["Arm", ""],
    ],
    users.map(row),
  );
}
