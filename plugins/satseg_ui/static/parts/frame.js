// Inside Airflow this page stands in a sandboxed iframe of the same origin: it takes over Airflow's light or dark
// theme, and lets the outer page open links, because the sandbox forbids new tabs.

const outer = outerDocument();

function outerDocument() {
  try {
    return window.parent !== window ? window.parent.document : null;
  } catch {
    return null; // framed by a foreign page
  }
}

/** Whether the page stands in Airflow. */
export const embedded = outer !== null;

/** Follow Airflow's theme where there is one; the system's otherwise. */
export function followTheme() {
  document.documentElement.classList.toggle("embedded", embedded);
  if (!outer) return;
  const root = outer.documentElement;
  const take = () => {
    const named = ["dark", "light"].find((one) => root.classList.contains(one)) ?? root.dataset.theme;
    if (named === "dark" || named === "light") document.documentElement.dataset.theme = named;
  };
  take();
  new MutationObserver(take).observe(root, { attributes: true, attributeFilter: ["class", "data-theme"] });
}

/** Let links that leave the page open outside the frame. */
export function openLinksOutside() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[target]");
    if (!link || !outer || event.defaultPrevented) return;
    event.preventDefault();
    const twin = outer.createElement("a");
    twin.href = link.href.baseVal ?? link.href;
    twin.target = link.target.baseVal ?? link.target;
    twin.rel = "noopener";
    twin.click();
  });
}
