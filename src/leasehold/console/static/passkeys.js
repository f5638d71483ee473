// Forms that a passkey signs. A form with data-passkey="create" or "get" has a hidden field `credential`; the options
// for navigator.credentials stand in data-options of the choice that is checked, of the button that was pressed, or
// else of the form. What the browser gives goes into the field, and the form is sent as it is. Without options a form
// is sent at once.

// A button that does nothing without this script is disabled in the page, marked data-needs-script, and enabled here.

for (const button of document.querySelectorAll("[data-passkey] [data-needs-script]")) button.disabled = false;

const ways = {
  create: (options) =>
    navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) }),
  get: (options) =>
    navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) }),
};

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const way = ways[form.dataset.passkey];
  const field = form.elements.namedItem("credential");
  const chosen = form.querySelector("input:checked");
  const options = chosen?.dataset.options ?? event.submitter?.dataset.options ?? form.dataset.options;
  if (!way || !options || field.value) return;
  event.preventDefault();
  event.stopImmediatePropagation(); // to the rest of the page the form is sent once: with what was signed
  try {
    field.value = JSON.stringify(await way(JSON.parse(options)));
  } catch (error) {
    const words = form.querySelector("[data-passkey-words]") ?? form.appendChild(document.createElement("p"));
    words.dataset.passkeyWords = "";
    words.setAttribute("role", "alert");
    words.textContent = `The passkey was not used; nothing was done. (${error.name})`;
    return;
  }
  form.requestSubmit(event.submitter);
  field.value = "";
}, true);
