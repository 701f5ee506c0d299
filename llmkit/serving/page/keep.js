// Small values that outlive a reload. A browser that forbids to keep them forgets them with the page.

const forgotten = new Map();

/** Return a value; null if there is none. `storage` is "localStorage", or "sessionStorage" until the tab closes. */
export function kept(name, storage = "localStorage") {
  try {
    return window[storage].getItem(name);
  } catch {
    return forgotten.get(name) ?? null;
  }
}

/** Keep a value. */
export function keep(name, value, storage = "localStorage") {
  try {
    window[storage].setItem(name, value);
  } catch {
    forgotten.set(name, value);
  }
}
