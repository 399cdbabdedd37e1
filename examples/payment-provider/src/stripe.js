// In place of Stripe.js, for a server that behaves as Stripe's API does: Stripe(key).elements({clientSecret}).create('payment').mount(where), and
// confirmPayment({elements, confirmParams: {return_url}}). The real one asks for the card in a frame of its own.
(() => {
  const api = new URL(document.currentScript.src).origin;
  const encode = (form) => new URLSearchParams(form).toString();

  window.Stripe = (key) => {
    const ask = async (method, path, form) => {
      const query = method === 'GET' ? `?${encode(form)}` : '';
      const answer = await fetch(`${api}/v1/${path}${query}`, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/x-www-form-urlencoded' },
        body: method === 'GET' ? undefined : encode(form),
      });
      return answer.json();
    };
    const intentOf = (secret) => secret.split('_secret_')[0];

    const elements = ({ clientSecret }) => ({
      clientSecret,
      number: null,
      create() {
        const all = this;
        return {
          mount(where) {
            const place = typeof where === 'string' ? document.querySelector(where) : where;
            const field = document.createElement('label');
            field.append('Card number ');
            all.number = document.createElement('input');
            all.number.name = 'number';
            all.number.autocomplete = 'cc-number';
            all.number.inputMode = 'numeric';
            field.append(all.number);
            place.replaceChildren(field);
            if (all.ready) all.ready();
          },
          on(event, then) {
            if (event === 'ready') all.ready = then;
          },
        };
      },
      async submit() {
        return {};
      },
    });

    const confirmPayment = async ({ elements: given, confirmParams = {}, redirect }) => {
      const secret = given.clientSecret;
      const intent = intentOf(secret);
      let told = await ask('POST', `payment_intents/${intent}/confirm`, {
        client_secret: secret,
        'payment_method_data[type]': 'card',
        'payment_method_data[card][number]': given.number ? given.number.value : '',
      });
      if (told.status === 'requires_action' && window.confirm('Your bank asks: is it you who pays?')) {
        told = await ask('POST', `payment_intents/${intent}/authenticate`, { client_secret: secret });
      }
      if (told.error) return { error: told.error };
      if (told.status === 'requires_action') {
        return { error: { code: 'payment_intent_authentication_failure', message: 'We are unable to authenticate your payment method.' } };
      }
      if (redirect === 'if_required' || !confirmParams.return_url) return { paymentIntent: told };
      const back = new URL(confirmParams.return_url);
      back.searchParams.set('payment_intent', intent);
      back.searchParams.set('redirect_status', told.status);
      window.location.assign(back);
      return new Promise(() => {});
    };

    const retrievePaymentIntent = async (secret) => {
      const told = await ask('GET', `payment_intents/${intentOf(secret)}`, { client_secret: secret });
      return told.error ? { error: told.error } : { paymentIntent: told };
    };

    return { elements, confirmPayment, retrievePaymentIntent };
  };
})();
