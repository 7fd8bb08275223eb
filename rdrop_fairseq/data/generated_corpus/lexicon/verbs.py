"""Verbs, each with what it takes: objects, determiners, places and manners that make sense with it.

Rows are ``english | german | objects | determiners | places | manners | flags``; "-" is nothing. Objects
are kinds of nouns (with @), single nouns, or nouns left out of their kind (with -). Determiners: d the
(singular), D the (plural), i a, m bare plural, n numeral, p possessive of the subject, t this; repeated, they
are more frequent. Flags: ``state`` has no progressive; ``accident`` happens against one's will and is told
in the past; ``once`` is no habit; ``feeling`` is not decided on; ``present`` needs an occasion; an
``instrument`` has no article in German.
"""

from typing import List, NamedTuple, Tuple

from rdrop_fairseq.data.generated_corpus.clause import BE, Adverbial, Verb
from rdrop_fairseq.data.generated_corpus.english import english_verb
from rdrop_fairseq.data.generated_corpus.german import ACCUSATIVE, DATIVE, german_verb
from rdrop_fairseq.data.generated_corpus.lexicon.circumstances import PLACE_GROUPS, manner
from rdrop_fairseq.data.generated_corpus.lexicon.nouns import BY_KIND, NOUNS
from rdrop_fairseq.data.generated_corpus.phrases import Noun


class Frame(NamedTuple):
    """A verb and what goes with it."""

    verb: Verb
    name: str
    objects: Tuple[Noun, ...]
    determiners: str
    places: Tuple[str, ...]
    manners: Tuple[Adverbial, ...]
    flags: Tuple[str, ...]
    case: str = ACCUSATIVE
    german_preposition: str = ""  # of a prepositional object: wartet auf


_TRANSITIVE = """
    read read read | lesen liest gelesen | @reading story fairy_tale -bill -postcard -contract | ddiimppDtn |
        home outdoors | slowly
    write wrote written | schreiben schreibt geschrieben | letter novel report article poem postcard message
        text song story book play | iimnd | study | slowly quickly alone
    buy bought bought | kaufen | @food @mass_food @clothes @furniture @household @belonging @device
        @instrument @vehicle @drink book newspaper magazine calendar map picture flower rose house flat cake
        roll salad -parcel -present | idimnnn | shop | - | buy
    sell sold sold | verkaufen verkauft verkauft | @clothes @furniture @device @instrument @vehicle @pet apple
        potato egg bread cheese flower picture house flat ring ticket hotel restaurant farm | dpppiDmn | - |
        quickly | once
    eat ate eaten | essen isst gegessen | @food @mass_food @dish -onion -butter -honey -jam -potato -meat |
        diimmn | meals | quickly slowly
    drink drank drunk | trinken trinkt getrunken | @drink | diiit | meals | slowly quickly
    bake | backen backt gebacken | cake roll biscuit bread | iidmnt | kitchen | with_great_joy
    cook | kochen | soup egg potato rice vegetables meat | iidmt | kitchen | slowly
    prepare | vor|bereiten bereitet vorbereitet | party trip meeting course lecture wedding exhibition lesson
        performance festival conference | dpit | - | carefully thoroughly alone | once
    cut cut cut | schneiden schneidet geschnitten | bread cheese tomato onion carrot apple cake meat pear
        mushroom | dDm | kitchen | carefully slowly
    wash | waschen wäscht gewaschen | shirt dress skirt car blouse sweater sock trousers apple vegetables
        towel blanket lorry | dDpp | - | thoroughly carefully
    clean | putzen | window shoe kitchen bathroom mirror bicycle boot flat oven fridge floor door | dDpp | - |
        thoroughly quickly
    tidy ~up | auf|räumen räumt aufgeräumt | kitchen living_room bedroom study classroom cellar garage office
        room desk cupboard flat | dppt | - | quickly thoroughly alone
    repair | reparieren | car bicycle motorcycle lorry washing_machine radio television camera clock roof door
        gate printer computer fridge chair umbrella oven heater boat bridge bed cupboard | dppiDmn | workshop
        | quickly carefully without_any_help
    open | öffnen | door window bottle letter suitcase parcel box drawer gate umbrella present | dpDit | - |
        carefully slowly quickly
    close | schließen schließt geschlossen | door window gate drawer suitcase box | dpDt | - | quietly quickly
        slowly
    lock | ab|schließen schließt abgeschlossen | door house car office gate suitcase flat bicycle cellar
        garage | dp | - | carefully
    find found found | finden findet gefunden | key ring umbrella glove bag ball spectacles mushroom mistake
        letter ticket cat dog answer photo drawing | dipp | lost | - | accident
    lose lost lost | verlieren verliert verloren | key ring umbrella hat glove scarf ball spectacles ticket
        bag cap letter | pppdi | lost | - | accident
    look +for | suchen | key spectacles umbrella ticket bag ring dog cat flat glove hat mistake hotel | ppdi |
        - | patiently
    forget forgot forgotten | vergessen vergisst vergessen | umbrella key ticket hat bag camera spectacles
        word present coat | pppd | lost | - | accident
    break broke broken | zerbrechen zerbricht zerbrochen | glass plate cup vase mirror bowl bottle | dipn |
        kitchen | by_mistake | accident
    burn | verbrennen verbrennt verbrannt | letter photo newspaper contract | dpD | - | secretly | once
    build built built | bauen | house bridge tower ship boat school hospital hotel church castle stadium
        museum table shelf cupboard bed factory garage | iidmnt | - | quickly alone
    paint | malen | picture tree flower horse castle | iidmn | outdoors | slowly with_great_joy
    paint | streichen streicht gestrichen | wall door window gate kitchen bathroom bedroom living_room bench
        boat house chair garage | dDpit | - | slowly quickly alone
    draw drew drawn | zeichnen | plan picture tree map horse house bridge flower bird tower | iidmn | outdoors
        | quickly slowly
    visit | besuchen besucht besucht | @relative @acquaintance museum castle church exhibition library
        university zoo tower village island theatre factory farm town | pditn | - | - | once
    see saw seen | sehen sieht gesehen | @wild_animal @person film play castle ship @vehicle plane -king
        -queen | iidDmn | outdoors | for_the_first_time | state
    watch | beobachten beobachtet beobachtet | bird @wild_animal ship cat child policeman | diDm | outdoors |
        patiently secretly quietly
    hear heard heard | hören | song story bird dog | diDm | - | for_the_first_time | state
    listen +to | hören | music | i | home | alone quietly
    invite | ein|laden lädt eingeladen | @relative @acquaintance @person -king -queen -prince -princess
        -soldier -judge | ppdDmn | - | - | once
    call | an|rufen ruft angerufen | @relative @acquaintance doctor teacher lawyer dentist craftsman boss
        director mayor nurse | ppddi | - | immediately secretly
    pick ~up | ab|holen holt abgeholt | @relative @acquaintance parcel child guest tourist ticket | ppd |
        arrivals | - | once
    meet met met | treffen trifft getroffen | @relative @acquaintance @person -king -queen | pdi | town |
        secretly | once
    ask | fragen | @relative @acquaintance teacher doctor policeman waiter lawyer craftsman gardener nurse |
        pd | - | immediately
    love | lieben | @relative song play story museum garden language theatre music | ppd | - | - | state
    wake woke woken | wecken | @relative child dog guest | ppd | - | carefully quietly
    understand understood understood | verstehen versteht verstanden | question answer text rule language
        problem plan contract lecture decision word | dtD | - | well immediately | state
    solve | lösen löst gelöst | problem task | ditDn | - | quickly without_any_help | once
    learn | lernen | song poem language word rule | diinmt | study | quickly
    answer | beantworten beantwortet beantwortet | question letter message | dDti | - | immediately patiently
        quickly
    wear wore worn | tragen trägt getragen | @clothes spectacles ring | iiptm | - | -
    put put put ~on | an|ziehen zieht angezogen | coat shirt dress jacket skirt sweater blouse trousers shoe
        boot sock glove suit | pdi | - | quickly slowly | once
    take took taken ~off | aus|ziehen zieht ausgezogen | coat jacket shoe boot glove sweater sock trousers |
        ppd | - | quickly slowly | once
    put put put ~on | auf|setzen setzt aufgesetzt | hat cap spectacles | ppdi | - | slowly quickly | once
    turn ~on | ein|schalten schaltet eingeschaltet | lamp radio television computer oven washing_machine
        camera printer heater | dpt | - | quickly
    turn ~off | aus|schalten schaltet ausgeschaltet | lamp radio television computer oven washing_machine
        camera printer heater | dpt | - | immediately
    bring brought brought ~along | mit|bringen bringt mitgebracht | cake salad present guitar wine cheese
        camera flower bread juice | iimp | - | - | once
    sing sang sung | singen singt gesungen | song | iidmnt | home outdoors | loudly quietly happily
    plant | pflanzen pflanzt gepflanzt | tree rose bush flower | idmn | garden | - | once
    water | gießen gießt gegossen | flower rose tree bush | DDd | garden | -
    feed fed fed | füttern | @pet elephant monkey | dppD | - | -
    catch caught caught | fangen fängt gefangen | fish mouse rabbit bird ball | idmn | - | quickly | once
    photograph | fotografieren | @wild_animal @pet castle bridge church tower ship flower tree actress singer
        | dDmi | - | secretly
    translate | übersetzen übersetzt übersetzt | book letter text poem contract novel article message | dpitn
        | study | quickly carefully
    sign | unterschreiben unterschreibt unterschrieben | contract letter bill report | dipt | - | immediately
        | once
    borrow | aus|leihen leiht ausgeliehen | book novel ladder bicycle map magazine film camera | idnm | - | -
        | once
    return | zurück|geben gibt zurückgegeben | book key ladder bicycle camera map umbrella | dDt | - |
        immediately | once
    throw threw thrown ~away | weg|werfen wirft weggeworfen | newspaper bottle shoe magazine letter umbrella
        calendar sock ticket apple | pdD | - | by_mistake immediately | once
    pack | packen | suitcase bag box parcel | ppdt | - | quickly slowly alone | once
    order | bestellen bestellt bestellt | soup salad fish coffee tea beer wine water juice cake taxi book
        pancake | iidn | restaurants | - | once
    pay paid paid +for | bezahlen bezahlt bezahlt | ticket taxi hotel coffee soup book bicycle | dDp | - |
        immediately | once
    miss | verpassen verpasst verpasst | bus train plane tram ship concert lecture match | ddi | - | - |
        accident
    miss | vermissen vermisst vermisst | @relative @acquaintance dog cat | pp | - | - | state
    need | brauchen | car bicycle computer ladder key lamp bed doctor lawyer umbrella coat plan desk suitcase
        | iidmn | - | - | state
    use | benutzen benutzt benutzt | computer telephone camera ladder hammer car printer bicycle map | dppi |
        - | -
    hide hid hidden | verstecken versteckt versteckt | present key letter ring egg photo | dpD | - | secretly
        carefully | once
    steal stole stolen | stehlen stiehlt gestohlen | bicycle ring car bag picture camera horse ticket | idn |
        - | secretly | accident
    receive | bekommen bekommt bekommen | letter present parcel message postcard answer | iimn | - | - |
        accident
    admire | bewundern bewundert bewundert | picture castle church garden singer painter actress dress
        exhibition tower bridge writer | dDt | - | secretly | state
    check | prüfen prüft geprüft | bill ticket report contract plan task answer | dDt | - | carefully
        thoroughly
    choose chose chosen | aus|suchen sucht ausgesucht | dress ring present book coat carpet song picture lamp
        | idt | - | carefully | once
    count | zählen zählt gezählt | sheep book chair bottle plate egg mistake | DD | - | slowly carefully
    save | retten rettet gerettet | child dog cat man woman girl boy horse | di | - | - | accident
    push | schieben schiebt geschoben | bicycle car motorcycle | dp | - | slowly
    fill | füllen füllt gefüllt | bottle glass bucket basket bowl | dpD | - | slowly
    fetch | holen | ladder bread bucket plate newspaper doctor chair blanket bottle hammer | didm | - |
        quickly immediately
    play | spielen | @instrument | - | home | well badly | instrument
    take took taken | machen | photo | imn | outdoors | quickly | once
    make made made | machen | mistake | imn | - | - | accident
    ask | stellen stellt gestellt | question | iimn | - | immediately | once
    make made made | treffen trifft getroffen | decision | ii | - | quickly alone | once
    give gave given | halten hält gehalten | lecture | iid | - | - | once
    take took taken | nehmen nimmt genommen | bus train taxi tram ship | dddi | - | -
    tell told told | erzählen erzählt erzählt | story fairy_tale | iidnm | outdoors home | slowly quietly
    destroy | zerstören zerstört zerstört | letter picture bridge photo | dDi | - | - | accident
    win won won | gewinnen gewinnt gewonnen | match car trip | di | - | without_any_help | accident
    rent | mieten mietet gemietet | flat house car boat bicycle room | idt | - | - | once
"""
_DATIVE = """
    help | helfen hilft geholfen | @relative @acquaintance @person -king -queen -prince | ppddDi | - |
        immediately gladly
    thank | danken | @relative @acquaintance doctor teacher nurse policeman pilot driver soldier | ppdD | - |
        - | once
    follow | folgen folgt gefolgt sein | man woman dog boy girl guest tourist teacher cat | diD | - | slowly
        secretly quietly | once
    listen +to | zu|hören hört zugehört | @relative singer teacher musician child writer judge mayor president
        | pdD | - | patiently
    congratulate | gratulieren | @relative @acquaintance singer actress student pupil mayor | pd | - | - |
        once
    trust | vertrauen vertraut vertraut | @relative @acquaintance doctor lawyer judge policeman | ppd | - | -
        | state
    answer | antworten | @relative @acquaintance judge teacher journalist customer policeman | pd | - |
        immediately patiently loudly
    run ran run +into | begegnen begegnet begegnet sein | @acquaintance actor actress teacher king princess
        prince bear wolf singer | pid | town | - | accident
"""
_DITRANSITIVE = """
    give gave given | geben gibt gegeben | book key apple letter ball ticket ring flower answer glass bottle
        cup | diDmt | double
    send sent sent | schicken schickt geschickt | letter postcard parcel book message photo present flower
        report bill | diimnD | double
    show showed shown | zeigen | picture photo garden letter castle map house ring drawing museum kitchen
        bicycle plan | dpit | double
    lend lent lent | leihen leiht geliehen | book bicycle car umbrella ladder camera coat guitar suitcase boat
        hammer | ppid | double
    bring brought brought | bringen bringt gebracht | coffee tea water cake soup newspaper letter parcel
        flower key blanket glass | idimn | double
    give gave given | schenken schenkt geschenkt | book ring camera dog cat bicycle scarf bag guitar picture
        rose vase sweater | iinm | double present
    sell sold sold | verkaufen verkauft verkauft | car house bicycle boat horse piano camera picture cow | pid
        | double once
    tell told told | erzählen erzählt erzählt | story fairy_tale secret | idt | double
    explain | erklären erklärt erklärt | rule plan word task picture problem text | dtD | to
    read read read | vor|lesen liest vorgelesen | story letter poem book fairy_tale article newspaper | idtp |
        to
    recommend | empfehlen empfiehlt empfohlen | book hotel restaurant film doctor museum wine novel dentist |
        idt | to
    describe | beschreiben beschreibt beschrieben | picture man woman house plan problem bag | dt | to
    return | zurück|geben gibt zurückgegeben | book key ladder bicycle camera map umbrella | dD | to
"""
# The German preposition and case stand after the German verb, in brackets.
_PREPOSITIONAL = """
    wait +for | warten [auf accusative] | bus train taxi plane tram doctor @relative friend guest letter
        answer parcel waiter | dddp | station bus_stop | patiently
    think thought thought +of | denken denkt gedacht [an accusative] | @relative exam trip wedding friend
        concert | pd | - | -
    think thought thought +about | nach|denken denkt nachgedacht [über accusative] | question problem plan
        task decision answer idea | dt | - | -
    talk +about | sprechen spricht gesprochen [über accusative] | film book exam problem trip plan idea play
        decision weather exhibition wedding match mistake | dtD | town | -
    dream +of | träumen [von dative] | trip house castle island lion garden car party | id | - | -
    look +after | sich kümmern [um accusative] | @relative child garden guest @pet flower | ppdD | - | -
    look +forward +to | sich freuen [auf accusative] | trip party concert wedding festival match present
        performance exhibition | dp | - | - | feeling
    remember | sich erinnern erinnert erinnert [an accusative] | trip teacher film wedding word story concert
        exam performance | dt | - | well | state
    be +interested +in | sich interessieren [für accusative] | picture plan language museum music castle
        course exhibition story bird car | dDi | - | - | state
    complain +about | sich beschweren beschwert beschwert [über accusative] | bill hotel room weather
        neighbour waiter soup boss bed | dpt | - | loudly angrily
    laugh +about | lachen [über accusative] | film story mistake question answer picture hat | dpt | - |
        loudly
    take took taken +part +in | teil|nehmen nimmt teilgenommen [an dative] | course trip meeting conference
        match exam lecture | dit | - | - | once
    talk +to | sprechen spricht gesprochen [mit dative] | @relative @acquaintance teacher doctor lawyer mayor
        director engineer judge gardener | pdDi | town | quietly
    ask +for | bitten bittet gebeten [um accusative] | bill ticket answer glass pillow key | di | - | - | once
    be +afraid +of | sich fürchten fürchtet gefürchtet [vor dative] | dog exam bear wolf snake lion mouse
        teacher boss dentist | dDm | - | - | state
    fall fell fallen +in +love +with | sich verlieben verliebt verliebt [in accusative] | singer actress pilot
        princess prince actor waiter nurse neighbour | di | - | - | accident
    play +with | spielen [mit dative] | dog cat ball child rabbit | dpD | garden outdoors | happily
    write wrote written +to | schreiben schreibt geschrieben [an accusative] | @relative friend mayor
        president king newspaper | dpp | - | -
    say said said +goodbye +to | sich verabschieden verabschiedet verabschiedet [von dative] | @relative
        @acquaintance guest teacher | ppd | station airport | - | once
    apologise +to | sich entschuldigen entschuldigt entschuldigt [bei dative] | @relative @acquaintance
        customer teacher guest judge waiter | ppd | - | immediately | once
    go went gone +out +with | aus|gehen geht ausgegangen sein [mit dative] | @acquaintance singer actor
        actress | pi | - | - | once
"""
_INTRANSITIVE = """
    sleep slept slept | schlafen schläft geschlafen | home | well badly
    work | arbeiten | work | hard alone
    swim swam swum | schwimmen schwimmt geschwommen sein | water | slowly quickly
    dance | tanzen tanzt getanzt | town | happily well
    cry | weinen | home | quietly loudly
    go went gone +for +a +walk | spazieren_|gehen geht spazieren_gegangen sein | outdoors | alone
    go went gone +shopping | ein|kaufen kauft eingekauft | shop | alone
    have had had +breakfast | frühstücken | meals | slowly
    rest | sich aus|ruhen ruht ausgeruht | home outdoors | -
    play +football | Fußball_|spielen spielt Fußball_gespielt | outdoors | well badly
    play +tennis | Tennis_|spielen spielt Tennis_gespielt | outdoors | well badly
    play +chess | Schach_|spielen spielt Schach_gespielt | home town | well badly
    play +cards | Karten_|spielen spielt Karten_gespielt | home town | -
    watch +television | fern|sehen sieht ferngesehen | home | alone
    hike | wandern wandert gewandert sein | outdoors | alone
    fish | angeln angelt geangelt | water | patiently alone
    cook | kochen | kitchen | well badly
    study | lernen | study | hard alone
    celebrate | feiern | town home | loudly
    sing sang sung | singen singt gesungen | home outdoors | loudly quietly badly well
"""


def _rows(text: str, fields: int) -> List[List[str]]:
    """The fields of each row, filled up with empty ones; a line further to the right continues its row."""
    lines: List[str] = []
    for line in text.strip("\n").splitlines():
        if line.startswith("        "):
            lines[-1] += " " + line.strip()
        else:
            lines.append(line.strip())
    rows = [["" if field.strip() == "-" else field.strip() for field in line.split(" | ")] for line in lines]
    return [row + [""] * (fields - len(row)) for row in rows]


def _nouns(words: str) -> Tuple[Noun, ...]:
    chosen: List[Noun] = []
    for word in words.split():
        name = word.replace("_", " ")
        if name.startswith("@"):
            chosen.extend(BY_KIND[name[1:]])
        elif name.startswith("-"):
            chosen.remove(NOUNS[name[1:]])
        else:
            chosen.append(NOUNS[name])
    return tuple(chosen)


def _places(names: str) -> Tuple[str, ...]:
    places: List[str] = []
    for name in names.split():
        places.extend(PLACE_GROUPS.get(name) or [name.replace("_", " ")])
    return tuple(places)


def _frame(row: List[str], case: str = ACCUSATIVE) -> Frame:
    english, german, objects, determiners, places, manners, flags = row
    preposition = ""
    if german.endswith("]"):
        german, _, government = german[:-1].partition(" [")
        preposition, case = government.split()
    if english.startswith("be "):
        english_forms = BE._replace(complement=english[3:].replace("+", ""))
    else:
        english_forms = english_verb(english)
    return Frame(
        Verb(english_forms, german_verb(german)),
        f"{english_forms.base} {german.split()[0]}",
        _nouns(objects),
        determiners,
        _places(places),
        tuple(manner(name) for name in manners.split()),
        tuple(flags.split()),
        case,
        preposition,
    )


def _without_objects(row: List[str]) -> Frame:
    english, german, places, manners, flags = row
    return _frame([english, german, "", "", places, manners, flags])


def _with_recipient(row: List[str]) -> Frame:
    english, german, objects, determiners, flags = row
    return _frame([english, german, objects, determiners, "", "", flags])


# What takes days or is rarely done, so that "last year" or "in summer" makes sense with it.
LONG = frozenset(
    """write buy sell build paint prepare visit repair translate learn hike meet invite plant rent win
    photograph steal save borrow destroy fall dance swim work celebrate complain dream
    remember play""".split()
)
# What one does with others.
SOCIAL = frozenset(
    """visit bake cook prepare repair build paint play hike dance sing swim work celebrate tidy watch eat
    drink plant fish learn go travel fly drive walk cycle""".split()
)

TRANSITIVE = tuple(_frame(row) for row in _rows(_TRANSITIVE, 7))
DATIVE_OBJECT = tuple(_frame(row, DATIVE) for row in _rows(_DATIVE, 7))
PREPOSITIONAL = tuple(_frame(row) for row in _rows(_PREPOSITIONAL, 7))
DITRANSITIVE = tuple(_with_recipient(row) for row in _rows(_DITRANSITIVE, 5))
INTRANSITIVE = tuple(_without_objects(row) for row in _rows(_INTRANSITIVE, 5))
ALL = TRANSITIVE + DATIVE_OBJECT + PREPOSITIONAL + DITRANSITIVE + INTRANSITIVE
