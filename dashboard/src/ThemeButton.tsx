// Its own component: only it and what draws with colours is rendered again by a change of the theme.
import { toggle, useTheme } from "./theme";

export function ThemeButton() {
  const theme = useTheme();
  return <button type="button" onClick={toggle}>{theme === "dark" ? "Light" : "Dark"} theme</button>;
}
