// Reads the views out of the page, and shows them.
import { render } from "preact";
import { Report } from "./Report";
import "./style.css";
import type { Views } from "./views";

const data = document.getElementById("views");
const root = document.getElementById("report");
if (data && root) {
  root.textContent = "";
  render(<Report views={JSON.parse(data.textContent ?? "") as Views} />, root);
}
