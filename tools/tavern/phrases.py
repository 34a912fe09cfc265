"""What people say: questions ("q"), answers from a fact ("known"), and answers without one ("unknown").

The first answer of a list is the usual one. Known and unknown answers of an intent open alike ("Honey? ..."), so that
the word to look for has been said when it must be decided whether it is there. Slots: {Good} name with a capital,
{a} with indefinite article in the nominative, {a_acc} accusative, {the}, {the_acc}, {pl} plural, {p} price, {c} coins,
{to} "to the mill", {To} the same with a capital, {x}, {y}: whatever the intent looks up.
"""

# What only refusals say, per language: the markers that a test looks for.
REFUSAL_MARKERS = {
    "en": ["I do not", "I have no", "I cannot", "I know nothing", "You have not told", "I have heard nothing",
           "I have nothing", "I can do nothing"],
    "de": ["nicht", "keine", "kein ", "keinen", "nichts"],
}

TALK = {
    "price": {
        "en": {
            "q": ["How much is {a}?", "What does {a} cost?", "What do you want for {a}?", "What is the price of {a}?",
                  "How much for {a}?", "What would I pay for {a}?", "Tell me the price of {a}.",
                  "How much do you ask for {a}?", "I want to know what {a} costs.", "How expensive is {a}?"],
            "known": ["{Good}? That is {p} {c}.", "{A} costs {p} {c}."],
            "unknown": ["{Good}? I do not have that.", "Sorry, I do not sell that."],
        },
        "de": {
            "q": ["Was kostet {a}?", "Wie viel kostet {a}?", "Wie teuer ist {a}?", "Was willst du für {a_acc}?",
                  "Was verlangst du für {a_acc}?", "Wie viel nimmst du für {a_acc}?", "Was zahle ich für {a_acc}?",
                  "Sag mir den Preis für {a_acc}.", "Ich will wissen, was {a} kostet.", "Was soll {a} kosten?"],
            "known": ["{Good}? Das macht {p} {c}.", "{A} kostet {p} {c}."],
            "unknown": ["{Good}? Das habe ich nicht.", "Tut mir leid, das verkaufe ich nicht."],
        },
    },
    "have": {
        "en": {
            "q": ["Do you have {a}?", "Do you have {pl}?", "Do you sell {pl}?", "Is there {a} here?", "I need {a}.",
                  "I am looking for {a}.", "Can I buy {a} here?", "Have you got {pl}?", "Are there any {pl} left?"],
            "known": ["{Good}? Yes, for {p} {c}.", "{Good}? I have that, for {p} {c}."],
            "unknown": ["{Good}? No, I do not have that.", "{Good}? Sorry, I do not sell that."],
        },
        "de": {
            "q": ["Hast du {a_acc}?", "Hast du {pl}?", "Verkaufst du {pl}?", "Gibt es hier {a_acc}?", "Ich brauche {a_acc}.",
                  "Ich suche {a_acc}.", "Kann ich hier {a_acc} kaufen?", "Führst du {pl}?", "Sind noch {pl} da?"],
            "known": ["{Good}? Ja, für {p} {c}.", "{Good}? Habe ich, für {p} {c}."],
            "unknown": ["{Good}? Nein, das habe ich nicht.", "{Good}? Tut mir leid, das verkaufe ich nicht."],
        },
    },
    "list": {
        "en": {
            "q": ["What do you sell?", "What do you have for sale?", "What can I buy here?", "Show me your goods.",
                  "What is on offer?", "Tell me what you have and the prices.", "What are your prices?", "Let me see your goods."],
            "known": ["My goods: {x} {c}.", "I sell this: {x} {c}."],
            "unknown": ["I have nothing for sale.", "I have no goods to sell."],
        },
        "de": {
            "q": ["Was verkaufst du?", "Was hast du im Angebot?", "Was kann ich hier kaufen?", "Zeig mir deine Waren.",
                  "Was gibt es hier?", "Sag mir, was du hast und was es kostet.", "Wie sind deine Preise?",
                  "Lass mich deine Waren sehen."],
            "known": ["Meine Waren: {x} {c}.", "Ich verkaufe das: {x} {c}."],
            "unknown": ["Ich habe nichts zu verkaufen.", "Ich habe keine Waren."],
        },
    },
    "way": {
        "en": {
            "q": ["Where is {the}?", "How do I get {to}?", "Which way is it {to}?", "Do you know the way {to}?",
                  "I want to go {to}.", "I am looking for {the}.", "Can you show me the way {to}?", "How can I find {the}?",
                  "I must get {to}."],
            "known": ["{To}? Go {x}.", "{To}: {x}."],
            "unknown": ["{To}? I do not know the way.", "{To}: sorry, I do not know the way."],
        },
        "de": {
            "q": ["Wo ist {the}?", "Wie komme ich {to}?", "Wo geht es {to}?", "Kennst du den Weg {to}?", "Ich will {to}.",
                  "Ich suche {the_acc}.", "Kannst du mir den Weg {to} zeigen?", "Wie finde ich {the_acc}?", "Ich muss {to}."],
            "known": ["{To}? Geh {x}.", "{To}: {x}."],
            "unknown": ["{To}? Den Weg kenne ich nicht.", "{To}: tut mir leid, den Weg kenne ich nicht."],
        },
    },
    "rumour": {
        "en": {
            "q": ["Any rumours?", "What is the news?", "Have you heard anything new?", "What do people say?",
                  "Do you know a rumour?", "Tell me the latest gossip.", "What is going on here?", "Did you hear something?"],
            "known": ["They say {x}.", "I have heard this: {x}."],
            "unknown": ["I have heard nothing new.", "I have heard nothing, sorry."],
        },
        "de": {
            "q": ["Gibt es Gerüchte?", "Was gibt es Neues?", "Hast du etwas Neues gehört?", "Was reden die Leute?",
                  "Kennst du ein Gerücht?", "Erzähl mir den neuesten Klatsch.", "Was ist hier los?", "Hast du etwas gehört?"],
            "known": ["Man sagt, {x}.", "Ich habe gehört: {x}."],
            "unknown": ["Ich habe nichts Neues gehört.", "Ich habe leider nichts gehört."],
        },
    },
    "being": {
        "en": {
            "q": ["What do you know about {the}?", "Have you heard of {a}?", "Tell me about {the}.", "Is there {a} around?",
                  "Do you know anything about {a}?", "I am hunting {a}."],
            "known": ["{The}? They say {x}."],
            "unknown": ["{The}? I know nothing about that."],
        },
        "de": {
            "q": ["Was weißt du über {the_acc}?", "Gibt es hier {a_acc}?", "Erzähl mir etwas über {the_acc}.",
                  "Was sagt man über {the_acc}?", "Weißt du etwas über {a_acc}?", "Ich jage {a_acc}."],
            "known": ["{The}? Man sagt, {x}."],
            "unknown": ["{The}? Davon weiß ich nichts."],
        },
    },
    "quest": {
        "en": {
            "q": ["Do you have work for me?", "Is there anything I can do?", "Do you need help?", "I am looking for work.",
                  "Do you have a quest?", "Can I do something for you?", "I need a job.", "Any task for a hero?"],
            "known": ["Yes: {x}. The reward is {p} {c}.", "I need help: {x}. I pay {p} {c}."],
            "unknown": ["No, I have no work for you.", "I have no task for you."],
        },
        "de": {
            "q": ["Hast du Arbeit für mich?", "Kann ich etwas tun?", "Brauchst du Hilfe?", "Ich suche Arbeit.",
                  "Hast du einen Auftrag?", "Kann ich etwas für dich tun?", "Ich brauche Arbeit.",
                  "Gibt es eine Aufgabe für einen Helden?"],
            "known": ["Ja: {x}. Der Lohn ist {p} {c}.", "Ich brauche Hilfe: {x}. Ich zahle {p} {c}."],
            "unknown": ["Nein, ich habe keine Arbeit für dich.", "Ich habe keinen Auftrag für dich."],
        },
    },
    "reward": {
        "en": {
            "q": ["What is the reward?", "What do you pay for the task?", "How much do I get for it?", "What is in it for me?"],
            "known": ["The reward is {p} {c}.", "I pay {p} {c}."],
            "unknown": ["I have no work for you.", "I have no task for you."],
        },
        "de": {
            "q": ["Was ist der Lohn?", "Was zahlst du für den Auftrag?", "Wie viel bekomme ich dafür?", "Was habe ich davon?"],
            "known": ["Der Lohn ist {p} {c}.", "Ich zahle {p} {c}."],
            "unknown": ["Ich habe keine Arbeit für dich.", "Ich habe keinen Auftrag für dich."],
        },
    },
    "who": {
        "en": {
            "q": ["Who is {x}?", "Do you know {x}?", "What does {x} do?", "Tell me about {x}.", "Have you heard of {x}?"],
            "known": ["{x}? That is {y}.", "{x} is {y}."],
            "unknown": ["{x}? I do not know that name.", "I do not know anybody of that name."],
        },
        "de": {
            "q": ["Wer ist {x}?", "Kennst du {x}?", "Was macht {x}?", "Erzähl mir von {x}.", "Hast du von {x} gehört?"],
            "known": ["{x}? Das ist {y}.", "{x} ist {y}."],
            "unknown": ["{x}? Den Namen kenne ich nicht.", "Ich kenne niemanden mit dem Namen, nicht hier."],
        },
    },
    "where": {
        "en": {
            "q": ["Where is {x}?", "Where do I find {x}?", "Where can I meet {x}?", "I am looking for {x}.", "I must speak to {x}."],
            "known": ["{x}? You find {x} {y}.", "{x} is {y}."],
            "unknown": ["{x}? I do not know that name.", "I do not know anybody of that name."],
        },
        "de": {
            "q": ["Wo ist {x}?", "Wo finde ich {x}?", "Wo kann ich {x} treffen?", "Ich suche {x}.", "Ich muss mit {x} reden."],
            "known": ["{x}? Du findest {x} {y}.", "{x} ist {y}."],
            "unknown": ["{x}? Den Namen kenne ich nicht.", "Ich kenne niemanden mit dem Namen, nicht hier."],
        },
    },
    "job_of": {
        "en": {
            "q": ["Who is {x} here?", "Where is {x}?", "I need {x}.", "What is the name of {x}?"],
            "known": ["{X}? That is {name}, {y}."],
            "unknown": ["{X}? I do not know one."],
        },
        "de": {
            "q": ["Wer ist hier {x}?", "Wo ist {x}?", "Ich brauche {x_acc}.", "Wie heißt {x}?"],
            "known": ["{X}? Das ist {name}, {y}."],
            "unknown": ["{X}? So jemanden kenne ich nicht."],
        },
    },
    "knows": {
        "en": {
            "q": ["Who knows about {the}?", "Who knows something about {the}?", "Who can tell me about {the}?",
                  "Whom can I ask about {the}?", "I want to know more about {the}."],
            "known": ["{The}? Ask {x}."],
            "unknown": ["{The}? I do not know who could help."],
        },
        "de": {
            "q": ["Wer weiß von {the_dat}?", "Wer weiß etwas über {the_acc}?", "Wer kann mir etwas über {the_acc} sagen?",
                  "Wen kann ich nach {the_dat} fragen?", "Ich will mehr über {the_acc} wissen."],
            "known": ["{The}? Frag {x}."],
            "unknown": ["{The}? Ich weiß nicht, wer dir helfen kann."],
        },
    },
    "name": {
        "en": {
            "q": ["What is your name?", "Who are you?", "What do they call you?", "Tell me your name.", "And you are?"],
            "known": ["I am {x}, {y} here.", "My name is {x}."],
        },
        "de": {
            "q": ["Wie heißt du?", "Wer bist du?", "Wie nennt man dich?", "Sag mir deinen Namen.", "Und du bist?"],
            "known": ["Ich bin {x}, {y} hier.", "Mein Name ist {x}."],
        },
    },
    "job": {
        "en": {
            "q": ["What do you do?", "What is your job?", "What do you work as?", "How do you earn your money?",
                  "Are you a king?"],
            "known": ["I am {y} here.", "I work as {x} in {town}."],
        },
        "de": {
            "q": ["Was machst du?", "Was ist dein Beruf?", "Als was arbeitest du?", "Womit verdienst du dein Geld?",
                  "Bist du ein König?"],
            "known": ["Ich bin hier {y}.", "Ich arbeite als {x} in {town}."],
        },
    },
    "tavern": {
        "en": {
            "q": ["What is this tavern called?", "What is the name of this house?", "Where am I?", "Which tavern is this?"],
            "known": ["You are {at}.", "This is {x}."],
            "unknown": ["I do not know its name.", "I do not know."],
        },
        "de": {
            "q": ["Wie heißt diese Schenke?", "Wie ist der Name dieses Hauses?", "Wo bin ich hier?", "Welche Schenke ist das?"],
            "known": ["Du bist {at}.", "Das ist {x}."],
            "unknown": ["Den Namen weiß ich nicht.", "Das weiß ich nicht."],
        },
    },
    "town": {
        "en": {
            "q": ["What town is this?", "What is the name of this town?", "Which place is this?",
                  "In which town are we?"],
            "known": ["This is {x}.", "We are in {x}."],
        },
        "de": {
            "q": ["Welche Stadt ist das?", "Wie heißt diese Stadt?", "Welcher Ort ist das?",
                  "In welcher Stadt sind wir?"],
            "known": ["Das ist {x}.", "Wir sind in {x}."],
        },
    },
    "mood": {
        "en": {
            "q": ["How are you?", "How do you feel?", "How is it going?", "Are you all right?", "What mood are you in?"],
            "known": ["I am {x} today.", "Today I feel {x}."],
        },
        "de": {
            "q": ["Wie geht es dir?", "Wie fühlst du dich?", "Wie läuft es?", "Geht es dir gut?", "Wie ist deine Laune?"],
            "known": ["Ich bin heute {x}.", "Heute bin ich {x}."],
        },
    },
    "age": {
        "en": {
            "q": ["How old are you?", "What is your age?", "Tell me your age."],
            "known": ["I am {x} years old.", "I am {x}."],
            "unknown": ["I do not tell my age.", "I do not talk about that."],
        },
        "de": {
            "q": ["Wie alt bist du?", "Was ist dein Alter?", "Sag mir dein Alter."],
            "known": ["Ich bin {x} Jahre alt.", "Ich bin {x}."],
            "unknown": ["Mein Alter verrate ich nicht.", "Darüber rede ich nicht."],
        },
    },
    "origin": {
        "en": {
            "q": ["Where do you come from?", "Where were you born?", "Where is your home?"],
            "known": ["I come from {x}.", "I was born in {x}."],
            "unknown": ["I do not talk about my home.", "I do not talk about that."],
        },
        "de": {
            "q": ["Woher kommst du?", "Wo bist du geboren?", "Wo ist deine Heimat?"],
            "known": ["Ich komme aus {x}.", "Ich bin in {x} geboren."],
            "unknown": ["Über meine Heimat rede ich nicht.", "Darüber rede ich nicht."],
        },
    },
    "likes": {
        "en": {
            "q": ["What do you like?", "What makes you happy?", "What do you love most?"],
            "known": ["I like {x}.", "I love {x}."],
            "unknown": ["I do not talk about what I like.", "I do not talk about that."],
        },
        "de": {
            "q": ["Was magst du?", "Was macht dich froh?", "Was liebst du am meisten?"],
            "known": ["Ich mag {x}.", "Ich liebe {x}."],
            "unknown": ["Was ich mag, verrate ich nicht.", "Darüber rede ich nicht."],
        },
    },
    "fears": {
        "en": {
            "q": ["What are you afraid of?", "What do you fear?", "What scares you?"],
            "known": ["I fear {x}.", "I am afraid of {x}."],
            "unknown": ["I do not talk about my fears.", "I do not talk about that."],
        },
        "de": {
            "q": ["Wovor hast du Angst?", "Was fürchtest du?", "Was macht dir Angst?"],
            "known": ["Ich fürchte {x}.", "Was ich fürchte: {x}."],
            "unknown": ["Über meine Angst rede ich nicht.", "Darüber rede ich nicht."],
        },
    },
    "foreign": {
        "en": {
            "q": ["What do you know about {x}?", "Tell me about {x}.", "Can you explain {x}?", "Do you know anything about {x}?",
                  "I have a question about {x}."],
            "unknown": ["{X}? I know nothing about that."],
        },
        "de": {
            "q": ["Was weißt du über {x}?", "Erzähl mir etwas über {x}.", "Kannst du mir {x} erklären?",
                  "Weißt du etwas über {x}?", "Ich habe eine Frage über {x}."],
            "unknown": ["{X}? Davon weiß ich nichts."],
        },
    },
    "made_up": {
        "en": {
            "q": ["What is {x}?", "Do you sell {x}?", "Have you heard of {x}?", "Where do I find {x}?", "Do you have {x}?",
                  "What does {x} cost?"],
            "unknown": ["{X}? I do not know that."],
        },
        "de": {
            "q": ["Was ist {x}?", "Verkaufst du {x}?", "Hast du von {x} gehört?", "Wo finde ich {x}?", "Hast du {x}?",
                  "Was kostet {x}?"],
            "unknown": ["{X}? Das kenne ich nicht."],
        },
    },
    "player_name": {
        "en": {
            "q": ["What is my name?", "Do you remember my name?", "Who am I?", "Do you know who I am?"],
            "known": ["Your name is {x}.", "You are {x}."],
            "unknown": ["You have not told me your name.", "I do not know your name."],
        },
        "de": {
            "q": ["Wie heiße ich?", "Weißt du noch, wie ich heiße?", "Wer bin ich?", "Weißt du, wer ich bin?"],
            "known": ["Dein Name ist {x}.", "Du bist {x}."],
            "unknown": ["Du hast mir deinen Namen nicht gesagt.", "Deinen Namen kenne ich nicht."],
        },
    },
}

# The player says who it is.
INTRODUCTIONS = {
    "en": (["My name is {x}.", "I am {x}.", "They call me {x}.", "I am {x}, a traveller.", "You can call me {x}."],
           ["Welcome, {x}!", "Good to meet you, {x}."]),
    "de": (["Mein Name ist {x}.", "Ich bin {x}.", "Man nennt mich {x}.", "Ich heiße {x}.", "Du kannst mich {x} nennen."],
           ["Willkommen, {x}!", "Schön, dich zu sehen, {x}."]),
}

# Small talk without any fact: what is said, and answers.
SMALL_TALK = {
    "greet": {
        "en": (["Hello!", "Good day!", "Greetings!", "Good evening.", "Hello there!", "Good morning!"],
               ["Welcome! What can I do for you?", "Greetings! What do you need?"]),
        "de": (["Hallo!", "Guten Tag!", "Sei gegrüßt!", "Guten Abend.", "Grüß dich!", "Guten Morgen!"],
               ["Willkommen! Was kann ich für dich tun?", "Sei gegrüßt! Was brauchst du?"]),
    },
    "bye": {
        "en": (["Goodbye!", "Farewell.", "See you.", "I have to go now.", "Until next time!", "Good night."],
               ["Farewell, and come back soon!", "Goodbye! Take care of yourself."]),
        "de": (["Auf Wiedersehen!", "Leb wohl.", "Bis bald.", "Ich muss jetzt gehen.", "Bis zum nächsten Mal!", "Gute Nacht."],
               ["Leb wohl, und komm bald wieder!", "Auf Wiedersehen! Pass auf dich auf."]),
    },
    "thanks": {
        "en": (["Thank you.", "Thanks a lot!", "Many thanks.", "That helps me.", "You are very kind."],
               ["You are welcome.", "It was a pleasure."]),
        "de": (["Danke.", "Vielen Dank!", "Hab Dank.", "Das hilft mir.", "Du bist sehr nett."],
               ["Gern geschehen.", "Es war mir ein Vergnügen."]),
    },
    "joke": {
        "en": (["Tell me a joke.", "Make me laugh!", "Do you know a joke?"],
               ["Why is the beer so small? Because I was thirsty first.", "The last joker drank here for free. Once."]),
        "de": (["Erzähl mir einen Witz.", "Bring mich zum Lachen!", "Kennst du einen Witz?"],
               ["Warum ist das Bier so klein? Weil ich zuerst Durst hatte.", "Der letzte Spaßvogel trank hier umsonst. Einmal."]),
    },
    "insult": {
        "en": (["You are a fool.", "You are ugly.", "I do not like you.", "You are a liar."],
               ["Watch your tongue, stranger.", "Say that again and you are out."]),
        "de": (["Du bist ein Narr.", "Du bist hässlich.", "Ich mag dich nicht.", "Du lügst."],
               ["Hüte deine Zunge, Fremder.", "Sag das noch einmal und du fliegst raus."]),
    },
    "praise": {
        "en": (["You are a good soul.", "I like this place.", "It is nice here.", "You are the best."],
               ["That is kind of you.", "It is good to hear that."]),
        "de": (["Du bist eine gute Seele.", "Mir gefällt es hier.", "Hier ist es schön.", "Du bist die Beste weit und breit."],
               ["Das ist nett von dir.", "Das hört man gern."]),
    },
    "weather": {
        "en": (["What is the weather like?", "Will it rain?", "It is cold outside.", "Bad weather today."],
               ["The sky is grey, as it always is here.", "The sun will be back tomorrow."]),
        "de": (["Wie ist das Wetter?", "Wird es regnen?", "Es ist kalt draußen.", "Schlechtes Wetter heute."],
               ["Der Himmel ist grau, wie immer hier.", "Morgen ist die Sonne wieder da."]),
    },
    "cheaper": {
        "en": (["That is too expensive.", "Can you make it cheaper?", "Give me a discount.", "Can I pay less?"],
               ["The price stays as it is.", "This is my best price."]),
        "de": (["Das ist zu teuer.", "Geht es billiger?", "Gib mir Rabatt.", "Kann ich weniger zahlen?"],
               ["Der Preis bleibt, wie er ist.", "Das ist mein bester Preis."]),
    },
    "languages": {
        "en": (["Do you speak German?", "Which languages do you speak?", "Do you understand me?", "Do you speak English?"],
               ["I speak English and German.", "Yes, I speak English and German."]),
        "de": (["Sprichst du Englisch?", "Welche Sprachen sprichst du?", "Verstehst du mich?", "Sprichst du Deutsch?"],
               ["Ich spreche Deutsch und Englisch.", "Ja, ich spreche Deutsch und Englisch."]),
    },
    "machine": {
        "en": (["Are you a machine?", "Are you real?", "Are you a human?", "Are you a computer program?"],
               ["I am as real as this tavern.", "I am who I am, stranger."]),
        "de": (["Bist du eine Maschine?", "Bist du echt?", "Bist du ein Mensch?", "Bist du ein Computerprogramm?"],
               ["Ich bin so echt wie diese Schenke.", "Ich bin, wer ich bin, Fremder."]),
    },
    "help": {
        "en": (["What can you do?", "What can I ask you?", "Help me.", "What do you know?"],
               ["Ask me about goods, ways, people, rumours and work.", "I know goods, ways, people and rumours."]),
        "de": (["Was kannst du?", "Was kann ich dich fragen?", "Hilf mir.", "Was weißt du?"],
               ["Frag mich nach Waren, Wegen, Leuten, Gerüchten und Arbeit.", "Ich kenne Waren, Wege, Leute und Gerüchte."]),
    },
    "danger": {
        "en": (["Is it dangerous here?", "Am I safe here?", "Should I be afraid?"],
               ["By day it is safe, at night I would stay inside.", "Keep your sword close, stranger."]),
        "de": (["Ist es hier gefährlich?", "Bin ich hier sicher?", "Muss ich Angst haben?"],
               ["Am Tag ist es sicher, nachts bliebe ich drinnen.", "Halt dein Schwert bereit, Fremder."]),
    },
}

# What an answer may open with, by mood.
OPENERS = {
    "cheerful": {"en": ["Ha!", "What a day!"], "de": ["Ha!", "Was für ein Tag!"]},
    "grumpy": {"en": ["Hmpf.", "If you must know."], "de": ["Hmpf.", "Na gut."]},
    "tired": {"en": ["So late...", "Yawn..."], "de": ["So spät...", "Gähn..."]},
    "friendly": {"en": ["My friend!", "Dear guest!"], "de": ["Mein Freund!", "Lieber Gast!"]},
    "sad": {"en": ["Alas.", "Oh dear."], "de": ["Ach.", "Ach je."]},
    "nervous": {"en": ["Quiet now...", "Uh, well..."], "de": ["Leise jetzt...", "Äh, also..."]},
    "proud": {"en": ["Listen well!", "Mark my words."], "de": ["Hör gut zu!", "Merk dir das."]},
    "angry": {"en": ["What now?", "Grr!"], "de": ["Was denn?", "Grr!"]},
}

# What people put before and behind a question.
BEFORE = {
    "en": ["Hello! ", "Good day! ", "Excuse me. ", "One question: ", "Listen. ", "{npc}, ", "Tell me, ", "Well, ", "And ", "So, "],
    "de": ["Hallo! ", "Guten Tag! ", "Entschuldigung. ", "Eine Frage: ", "Hör mal. ", "{npc}, ", "Sag mal, ", "Nun, ", "Und ", "Also, "],
}
BEHIND = {
    "en": [" Please.", " Thank you.", " Quickly, please.", " I am in a hurry.", " I am new here.", " I have come a long way."],
    "de": [" Bitte.", " Danke.", " Schnell, bitte.", " Ich habe es eilig.", " Ich bin neu hier.", " Ich komme von weit her."],
}
