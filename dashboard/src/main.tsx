// Reads the views out of the page and shows them; a page without any is the dashboard's.
import { render } from "preact";
import { Live } from "./Live";
import { Report } from "./Report";
import "./style.css";
import type { Views } from "./views";

const data = document.getElementById("views");
const root = document.getElementById("report");
if (root && "live" in root.dataset) {
  root.textContent = "";
  render(<Live />, root);
} else if (data && root) {
  root.textContent = "";
  render(<Report views={JSON.parse(data.textContent ?? "") as Views} />, root);
}
