// Mounts the payment provider's form for a card, and hands what was typed to the provider; the provider leads back to the page.
const form = document.getElementById("pay");
const { key, secret, return: back } = form.dataset;
const provider = globalThis.Stripe(key);
const elements = provider.elements({ clientSecret: secret });
elements.create("payment").mount("#card");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  const told = document.getElementById("pay-error");
  button.disabled = true;
  told.textContent = "";
  try {
    const { error } = await provider.confirmPayment({ elements, confirmParams: { return_url: back } });
    // Whoever gets here was not led away: something is to be corrected.
    if (error) told.textContent = error.message;
  } finally {
    button.disabled = false;
  }
});
