// The control API. A refusal becomes an Error with the server's own words.

async function read(response) {
  const document = await response.json();
  if (!response.ok) throw new Error(document.detail ?? `HTTP ${response.status}`);
  return document;
}

export const get = async (path) => read(await fetch(`/_emulator/${path}`, { cache: "no-store" }));

export const post = async (path, members) =>
  read(
    await fetch(`/_emulator/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(members),
    }),
  );
