// Light, dark, or as the system says.

const KEPT = "nearfeed-theme";
export const THEMES = ["auto", "light", "dark"];

export function currentTheme() {
  const kept = localStorage.getItem(KEPT);
  return THEMES.includes(kept) ? kept : "auto";
}

export function setTheme(theme) {
  localStorage.setItem(KEPT, theme);
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("theme"));
}

/** The colour that a custom property of the style stands for now. */
export function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
