// Which view is open, and for which reader: both are in the address, as in #/reader?user=12.

export function route() {
  const [name, query = ""] = location.hash.replace(/^#\//, "").split("?");
  return { name: name || "feed", user: new URLSearchParams(query).get("user") ?? "" };
}

export function address(name, user = route().user) {
  return user ? `#/${name}?${new URLSearchParams({ user })}` : `#/${name}`;
}

export function go(name, user) {
  location.hash = address(name, user);
}
