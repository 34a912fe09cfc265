"""Orders and sums: every step of the reckoning is written out, so that each is a small table."""

from split import held_out
from turns import REFUSALS, Turn, capital, dress, refusal_check
from words import DE, EN, GOODS, NUMBERS

SUMS = "sums"
MAX_TOTAL = 99
MAX_COUNT = 5

COST_QUESTIONS = {
    "en": ["What do {x} cost?", "How much are {x}?", "What is the price of {x} together?", "Add this up for me: {x}.",
           "What would {x} come to?", "How much for {x}?", "What do I pay for {x}?"],
    "de": ["Was kosten {x}?", "Wie viel machen {x}?", "Was ist der Preis für {x} zusammen?", "Rechne mir aus: {x}.",
           "Wie teuer sind {x}?", "Wie viel willst du für {x}?", "Was zahle ich für {x}?"],
}
ONE_COST_QUESTION = {"en": "How much for {x}?", "de": "Wie viel willst du für {x}?"}
ORDERS = {
    "en": ["I would like {x}.", "I will take {x}.", "Give me {x}, please.", "{X}, please.", "Bring me {x}.", "I want to buy {x}.",
           "Sell me {x}.", "Pack {x} for me."],
    "de": ["Ich möchte {x}.", "Ich nehme {x}.", "Gib mir {x}, bitte.", "{X}, bitte.", "Bring mir {x}.", "Ich will {x} kaufen.",
           "Verkauf mir {x}.", "Pack mir {x} ein."],
}
# Between number and price, between things, the step of addition, and the total.
WORDS = {
    "en": {"at": "at", "and": "and", "missing": "I do not have that", "totals": ["That makes {t} {c}.", "In total {t} {c}."]},
    "de": {"at": "zu", "and": "und", "missing": "das habe ich nicht", "totals": ["Das macht {t} {c}.", "Zusammen {t} {c}."]},
}
DRILLS = {
    "en": ["What is {x}?", "How much is {x}?", "{x} = ?", "Tell me, what is {x}?"],
    "de": ["Was ist {x}?", "Wie viel ist {x}?", "{x} = ?", "Sag mir, was ist {x}?"],
}


# How many sums ask for a thing that is not there. generate.py sets it.
absent_share = 0.07


def number_word(n, noun, lang, in_words, case):
    if not in_words or n > len(NUMBERS):
        return str(n)
    if n == 1:
        return (noun.a_en() if lang == EN else noun.a(case)).split(" ")[0]
    return NUMBERS[n - 1][0 if lang == EN else 1]


def listing(rng, items, lang, case):
    """items: (count, noun). "2 apples, three beers and 1 hat"."""
    in_words = rng.chance(0.3)
    parts = ["%s %s" % (number_word(n, noun, lang, in_words, case), noun.count(n, lang)) for n, noun in items]
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + " " + WORDS[lang]["and"] + " " + parts[-1]


def pair_key(first, second):
    return "pair|%s|%s" % tuple(sorted((first.en, second.en)))


def reckoning(items, lang, coin, closing):
    """items: (count, noun, price or None when it is not for sale). Returns: text and total."""
    steps, sums = [], []
    for n, noun, price in items:
        if price is None:
            steps.append("%d %s - %s" % (n, noun.count(n, lang), WORDS[lang]["missing"]))
        else:
            steps.append("%d %s %s %d = %d" % (n, noun.count(n, lang), WORDS[lang]["at"], price, n * price))
            sums.append(n * price)
    text = ", ".join(steps) + "."
    if not sums:
        return text, None
    total, additions = sums[0], []
    for value in sums[1:]:
        additions.append("%d + %d = %d" % (total, value, total + value))
        total += value
    if additions:
        text += " " + ", ".join(additions) + "."
    return text + " " + closing.format(t=total, c=coin), total


def sum_turn(rng, scene, lang, order=None):
    """A sum over things of the scene; now and then with one that is not there."""
    for _ in range(30):
        n_items = min(len(scene.goods), rng.weighted([(1, 3), (2, 5), (3, 3)]))
        goods = rng.sample(scene.goods, n_items)
        items = [(rng.between(1, MAX_COUNT), good.noun, good.price) for good in goods]
        if rng.chance(absent_share):
            noun = rng.pick(GOODS)
            if scene.find_good(noun) is None:
                items[rng.below(len(items))] = (rng.between(1, MAX_COUNT), noun, None)
        if sum(n * price for n, _, price in items if price) <= MAX_TOTAL:
            break
    else:
        return None
    key = split_key(items)
    order = rng.chance(0.5) if order is None else order
    if order and len(items) == 1 and scene.tools and "give_item" in scene.tools.names:
        order = False  # that would be a call
    question = rng.pick((ORDERS if order else COST_QUESTIONS)[lang])
    if not order and len(items) == 1 and items[0][0] == 1:
        question = ONE_COST_QUESTION[lang]
    totals = WORDS[lang]["totals"]
    closing = totals[0] if rng.chance(0.65) else totals[1]
    nominative = question == COST_QUESTIONS[DE][0] or "sind" in question or "machen" in question
    text = listing(rng, [item[:2] for item in items], lang, "nom" if nominative else "acc")
    user, dressing = dress(rng, scene, lang, question.format(x=text, X=capital(text)))
    coin = scene.coin_name(lang)
    reply, total = reckoning(items, lang, coin, closing)
    patterns = ((lang, dressing, question, len(items)), (lang, "answer", closing, len(items)))
    if total is None:
        return Turn(REFUSALS, lang, user, reply, key, refusal_check(lang, [" = "]), patterns, intent="sum")
    check = {"number": total, "contains_all": [coin], "language": lang}
    return Turn(SUMS, lang, user, reply, key, check, patterns, intent="sum")


def split_key(items):
    """Several things that are summed up are held out when any pair of them is; one alone goes by number and price."""
    if len(items) == 1:
        n, noun, price = items[0]
        return "times|%s|%d|%s" % (noun.en, n, price)
    keys = [pair_key(items[i][1], items[j][1]) for i in range(len(items)) for j in range(i)]
    held = [key for key in keys if held_out(key)]
    return held[0] if held else keys[0]


def drill_turn(rng, scene, lang):
    """A bare sum or product: the tables that sums are made of."""
    if rng.chance(0.3):
        a, b = rng.between(1, MAX_COUNT), rng.between(1, 20)
        text, value = "%d x %d" % (a, b), a * b
    else:
        a = rng.between(1, MAX_TOTAL - 1 if rng.chance(0.5) else 45)
        b = rng.between(1, MAX_TOTAL - a)
        text, value = "%d + %d" % (a, b), a + b
    question = rng.pick(DRILLS[lang])
    return Turn(SUMS, lang, question.format(x=text), "%s = %d." % (text, value), None, {"number": value},
                ((lang, "", question), (lang, "answer", "drill")), intent="drill")
