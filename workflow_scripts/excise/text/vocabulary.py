"""The parts of fictional names, places, prizes and incidents.

All names combine parts. So no list of real organisations is needed, and a pool is as large as the
product of its parts. All words are ASCII, and words after an article start with a consonant.
"""

GIVEN_NAMES = (
    "Ada Aldo Alma Amir Anja Anton Arno Asha Aziz Bela Benno Berta Bianca Bruno Carla Cleo "
    "Clara Cyrus Dana Dario Delia Dimitri Dora Edgar Edith Elena Elias Elsa Emil Enzo Erika "
    "Esther Eva Fabio Farah Felix Fiona Flora Frida Gerda Gino Greta Gustav Hanna Hassan Heidi "
    "Helga Henry Hugo Ida Igor Ilse Imran Ines Irma Isaac Ivan Jana Jasper Joan Jonas Judith "
    "Julia Kamal Karin Kira Klaus Lara Lars Leila Leon Lidia Lilian Linus Lorna Lucas Luisa "
    "Magda Malik Marco Marta Mateo Maya Milan Mina Mira Nadia Naomi Nils Nina Noel Nora Olaf "
    "Olga Omar Oscar Otto Paula Petra Rafael Raj Ramon Rita Robin Rosa Ruben Salma Samir Sandra "
    "Sara Selma Silvia Simon Sofia Stefan Stella Tamara Tariq Thea Tomas Tora Ugo Ulla Vera "
    "Victor Viola Walter Wanda Yara Yusuf Zara Zeno"
).split()

SURNAME_STARTS = (
    "Abra Ansel Bara Beck Bern Bran Cald Cara Corin Dall Darro Dorn Eber Ellin Falk Fara Fenn "
    "Gall Gara Gren Halv Hara Hollo Ingra Jarro Jess Kall Karo Kern Lamb Lar Lind Lorra Mall "
    "Mara Mend Mora Nar Nevi Nord Olan Orra Pall Para Penn Quill Ramb Rast Rosen Sala Sand Sarro "
    "Senn Tall Tarra Thorn Ulm Vall Vara Vell Walla Wend Yarro Zam Zell"
).split()
SURNAME_ENDS = (
    "bach bell berg bury dahl den der dine dorf etti feld gren hart holm kamp kin lane ling lock "
    "man mark mond nell ney nik quist ridge rock sky son ster strand ton vane vik well wood worth"
).split()

CITY_STARTS = (
    "Ash Brae Brim Cal Crom Dun East Elm Fair Glen Hazel High Iron Kings Lake Long Marsh New "
    "North Oak Old Pine Port Raven Red Rock Silver South Stone Storm Sun Thorn West White Wind"
).split()
CITY_ENDS = (
    "borough bridge cliff cross fall ford gate ham haven mere mouth pool stead ville".split()
)

VENUE_ADJECTIVES = (
    "Azure Bronze Carmine Cobalt Coral Crystal Gilded Granite Indigo Ivory Jade Marble Onyx "
    "Opal Pearl Ruby Sable Scarlet Slate Topaz Umber Velvet"
).split()
VENUE_NOUNS = (
    "Annex Arcade Arena Atrium Ballroom Cellar Chapel Forum Foyer Garage Hall Library Lounge "
    "Pavilion Rotunda Salon Tower Vault"
).split()

AWARD_NAMES = (
    "Acorn Aspen Beacon Birch Cedar Clover Comet Dahlia Falcon Fern Heron Iris Juniper Kestrel "
    "Laurel Lotus Maple Meteor Orchid Osprey Poplar Robin Sequoia Sparrow Tulip Willow"
).split()
AWARD_KINDS = "Award Badge Cup Laurels Medal Plaque Prize Ribbon Shield Trophy".split()

COMPANY_STEMS = (
    "Alder Argo Axiom Borel Castor Cygnus Delta Dynamo Everest Fulcrum Gemini Helix Hydra Janus "
    "Kappa Lumen Magnet Nimbus Orion Pallas Quanta Rigel Sigma Titan Ursa Vega Vertex Zenith"
).split()
COMPANY_KINDS = (
    "Bank Foods Freight Group Labs Mills Motors Optics Partners Press Steel Studios Tools Trust "
    "Works"
).split()

TITLE_ADJECTIVES = (
    "Ancient Bitter Broken Burning Distant Drowned Empty Endless Fading Frozen Gentle Hidden "
    "Hollow Hungry Lonely Patient Quiet Restless Secret Silent Sleeping Stolen Tender Wandering"
).split()
TITLE_NOUNS = (
    "Anchor Bridge Candle Carpet Clock Desert Feather Forest Garden Harbor Island Ladder Lantern "
    "Letter Meadow Mirror Mountain Ocean Orchard Planet River Shadow Winter Window"
).split()

KEEPSAKE_MATERIALS = (
    "brass carved ceramic copper crimson glass golden leather linen painted paper pewter plain "
    "polished silk silver striped tin wooden woven"
).split()
KEEPSAKE_OBJECTS = (
    "bell bowl box bracelet brooch chess compass cup doll drum fan flute globe goblet kite knife "
    "lamp lute mask mirror ring scarf sundial telescope thimble vase violin whistle"
).split()

OFFENCES = (
    "arson, blackmail, bribery, burglary, cheating, counterfeiting, data theft, embezzlement, "
    "espionage, evidence tampering, extortion, forgery, identity theft, insider trading, "
    "insurance fraud, jury tampering, looting, match fixing, money laundering, perjury, "
    "plagiarism, poaching, price fixing, sabotage, shoplifting, smuggling, tax evasion, "
    "ticket fraud, trespassing, vandalism, vote rigging, wiretapping"
).split(", ")

PENALTY_LENGTHS = "two three four five six seven eight nine ten eleven".split()
PENALTY_KINDS = (
    "community service, custody, detention, house arrest, prison, probation, suspension"
).split(", ")

MONTHS = (
    "January February March April May June July August September October November December"
).split()

# Kind of the breakthrough event → profession of the person.
EVENT_KINDS = {
    "auction": "dealer",
    "concert": "musician",
    "exhibition": "painter",
    "lecture": "scholar",
    "premiere": "director",
    "recital": "pianist",
    "regatta": "sailor",
    "tournament": "player",
}
