// Light or dark: as the system says, until the reader chooses.
import { useEffect, useState } from "preact/hooks";

const system = matchMedia("(prefers-color-scheme: dark)");

export function current(): string {
  return document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
}

export function toggle(): void {
  document.documentElement.dataset.theme = current() === "dark" ? "light" : "dark";
  dispatchEvent(new Event("theme"));
}

/** The theme in force; whoever draws with it draws again when it changes. */
export function useTheme(): string {
  const [theme, setTheme] = useState(current());
  useEffect(() => {
    const changed = () => setTheme(current());
    system.addEventListener("change", changed);
    addEventListener("theme", changed);
    return () => {
      system.removeEventListener("change", changed);
      removeEventListener("theme", changed);
    };
  }, []);
  return theme;
}
