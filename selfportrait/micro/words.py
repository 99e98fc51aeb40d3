"""The short words of the micro world's text category, and how a word is drawn on a small canvas.

Read this before changing a word, the font or the sizes: every word is one that real OCR reads back from its picture
(`judges/ocr.py`). Left out are words that it confuses by rule ("ZOO" is read "Z00", "OF" "0F") and the names of the
micro world's own colours and shapes, which would make `the word "RED" in blue` ambiguous.
"""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

__all__ = [
    "BACKGROUND",
    "CANVAS",
    "FONT",
    "SIZES",
    "WHITE",
    "draw_word",
    "font",
    "room",
    "word_box",
    "word_size",
    "words",
]

Colour = tuple[int, int, int]

FONT = "DejaVuSansMono-Bold.ttf"  # in matplotlib's data folder; five capitals at 20 px are 60 px wide
SIZES = range(16, 25)
CANVAS = 64
WHITE: Colour = (236, 236, 236)
BACKGROUND: Colour = (22, 22, 28)

_DEFAULT_SIZES = {2: 24, 3: 24, 4: 22, 5: 20}
_WORDS = {
    2: """
        AM AN AS AT BE BY DO GO HE IF IN IS IT ME MY NO ON OR TO UP US WE
    """,
    3: """
        ACE ACT ADD AGE AGO AID AIM AIR ALL AND ANT ANY ARC ARE ARM ART ASH ASK ATE AWE AXE BAD BAG BAN BAR BAT BAY
        BED BEE BEG BET BIB BID BIG BIN BIT BOB BOW BOX BOY BUD BUG BUN BUS BUT BUY BYE CAB CAN CAP CAR CAT COB COD
        COG COT COW CRY CUB CUE CUP CUT DAB DAD DAM DAY DEN DEW DID DIG DIM DIP DOE DOG DOT DRY DUE DUG DUO EAR EAT
        EGG EGO ELF ELK ELM END ERA EVE EWE EYE FAN FAR FED FEE FEW FIG FIN FIR FIT FIX FLU FLY FOE FOG FOR FOX FRY
        FUN FUR GAP GAS GEM GET GIG GOT GUM GYM HAD HAM HAS HAT HAY HEN HER HID HIM HIP HIS HIT HOG HOP HOT HOW HUB
        HUE HUG HUM HUT ICE ICY INK INN ION IRE ITS IVY JAB JAM JAR JAW JAY JET JIG JOB JOG JOY JUG KEG KEY KID KIN
        KIT LAB LAD LAP LAW LAY LED LEG LET LID LIP LIT LOG LOT LOW MAD MAN MAP MAT MAY MEN MET MIX MOB MOM MOP MUD
        MUG NAP NET NEW NIL NOD NOR NOT NOW NUT OAK OAR OAT ODD OFF OIL OLD ONE OPT ORB ORE OUR OUT OWL OWN PAD PAL
        PAN PAT PAW PAY PEA PEG PEN PET PIE PIG PIN PIT POD POP POT PRO PUB PUN PUP PUT RAG RAM RAN RAP RAT RAW RAY
        RIB RID RIM RIP ROD ROW RUB RUG RUN RYE SAD SAP SAT SAW SAY SEA SEE SET SEW SHE SHY SIP SIR SIT SIX SKI SKY
        SLY SOD SON SOW SOY SPA SPY SUM SUN TAB TAG TAN TAP TAR TAX TEA TEN THE TIE TIN TIP TOE TON TOP TOW TOY TRY
        TUB TUG TWO URN USE VAN VAT VET VIA VOW WAG WAR WAS WAX WAY WEB WED WET WHO WHY WIG WIN WIT WON WOW YAK YAM
        YES YET YOU ZAP ZIP
    """,
    4: """
        ABLE ACHE ACID ACRE AIDE ALSO AREA ARMY ATOM AUNT AWAY BABY BACK BAKE BALL BAND BANK BARK BARN BASE BATH BEAD
        BEAK BEAM BEAN BEAR BEAT BEEF BEEN BELL BELT BEND BENT BEST BIKE BILL BIRD BITE BLUR BOAT BODY BOLD BOLT BONE
        BORN BOTH BOWL BULB BULL BURN BUSH BUSY CAGE CAKE CALL CALM CAME CAMP CAPE CARD CARE CART CASE CASH CAVE CELL
        CHAT CHEF CHIN CHIP CITY CLAP CLAY CLUB CLUE COAL COAT CODE COIN COLD COLT COMB COME COPY CORD CORE CORK CORN
        COST CRAB CREW CROP CROW CUBE CURE CURL DARK DART DATA DATE DAWN DEAL DEAR DEEP DEER DESK DIAL DICE DISH DIVE
        DOCK DOES DOLL DOME DONE DOSE DOVE DOWN DRAW DROP DRUM DUCK DUNE DUST DUTY EACH EARN EAST EASY ECHO EDGE EDIT
        ELSE EVEN EVER EXIT FACE FACT FADE FAIR FALL FAME FARM FAST FATE FAWN FEAR FEED FEEL FERN FILE FILL FILM FIND
        FINE FIRE FIRM FISH FIST FIVE FLAG FLAT FLEA FLIP FLOW FOAM FOLD FOLK FORK FORM FORT FOUR FREE FROG FROM FUEL
        FULL FUND GAIN GAME GATE GAVE GEAR GIFT GIRL GIVE GLAD GLOW GLUE GOAL GOAT GOLD GOLF GONE GRAB GRAY GREW GRID
        GRIP GROW GULF HAIL HAIR HALF HALL HAND HANG HARD HARE HARP HAVE HAWK HEAD HEAL HEAR HEAT HEEL HELP HERB HERD
        HERE HERO HIDE HIGH HIKE HILL HINT HIVE HOLD HOLE HOME HOPE HORN HOSE HOUR HUGE HUNT IDEA INCH INTO IRON ITEM
        JADE JAZZ JOIN JOKE JUMP JUNE JURY JUST KEEN KEEP KEPT KIND KING KITE KIWI KNEE KNEW KNOT KNOW LACE LADY LAKE
        LAMB LAMP LAND LANE LARK LAST LATE LAVA LAWN LEAD LEAF LEAN LEFT LENS LESS LIFE LIFT LIKE LIME LINE LINK LION
        LIST LIVE LOAD LOAF LOCK LOFT LONG LOST LOUD LOVE LUCK LUNG MADE MAIL MAIN MAKE MANY MARE MARK MASK MATE MAZE
        MEAL MEAN MEAT MEET MELT MENU MICE MILD MILE MILK MILL MIND MINE MINT MIST MODE MOLE MORE MOSS MOST MOTH MOVE
        MUCH MULE MUSE NAIL NAME NAVY NEAR NECK NEED NEST NEWS NEXT NICE NINE NODE NONE NORM NOSE NOTE NOUN OATH OBEY
        ODOR OKAY ONCE ONLY OPEN OVAL OVEN OVER PACE PACK PAGE PAID PAIL PAIR PALM PARK PART PASS PAST PATH PEAK PEAR
        PEEL PICK PILE PINE PINK PIPE PLAN PLAY PLOT PLUM PLUS POEM POET POLE POND PONY PORT POSE POST POUR PULL PUMP
        PURE PUSH QUIT QUIZ RACE RAFT RAIL RAIN RAMP RANK RARE RATE READ REAL REED REEF REST RICE RICH RIDE RISE RISK
        ROAD ROAR ROCK ROLE ROLL ROPE ROSE RUBY RULE RUSH RUST SAFE SAGE SAIL SALE SALT SAME SAND SANG SAVE SEAL SEAT
        SEED SEEK SEEM SEEN SELF SEND SHED SHIP SHOE SHOP SHOW SIDE SIGN SILK SING SINK SIZE SKIN SLED SLOW SNOW SOAP
        SOCK SOFA SOFT SOIL SOLD SOLE SOME SONG SORT SOUL SOUP SPIN SPOT STAY STEM STEP STIR STOP SUCH SUIT SURE SURF
        SWAN SWIM TAIL TAKE TALE TALK TALL TAME TANK TAPE TASK TAXI TEAM TEAR TELL TENT TERM TEST TEXT THAN THAT THEM
        THEN THEY THIN THIS TIDE TIDY TILE TIME TINY TIRE TOAD TOLD TONE TOUR TOWN TREE TRIM TRIP TRUE TUBE TUNA TUNE
        TURN TWIG TWIN TYPE UNIT UPON USED USER VASE VAST VEIL VEIN VERB VERY VEST VIEW VINE VOTE WAGE WAIT WAKE WALK
        WALL WAND WANT WARM WASH WAVE WEAR WEEK WELL WENT WEST WHAT WHEN WIDE WIFE WILD WIND WINE WING WIRE WISE WISH
        WITH WOLF WORD WORE WORK WORM WRAP YARD YARN YEAR YOGA YOUR ZERO ZINC ZONE
    """,
    5: """
        ABOUT ABOVE ACORN ACTOR AGAIN AGREE ALARM ALBUM ALERT ALIKE ALIVE ALLOW ALONE ALONG AMBER ANGEL ANGLE ANKLE
        APPLE APRIL APRON ARENA ARROW ASIDE ATLAS AUDIO AWAKE AWARD BACON BADGE BAGEL BAKER BASIC BASIN BEACH BEARD
        BEGAN BEGIN BEING BELOW BENCH BERRY BIRTH BISON BLACK BLANK BLAZE BLEND BLOCK BOARD BRAIN BRAND BRAVE BREAD
        BREAK BRICK BRIDE BRIEF BRING BROWN BRUSH BUILD BUNCH BUNNY CABIN CABLE CAMEL CANAL CANDY CARGO CAROL CARRY
        CATCH CAUSE CEDAR CHAIN CHAIR CHALK CHARM CHART CHEEK CHEER CHESS CHEST CHIEF CHILD CHIME CHORD CIDER CIVIC
        CLAIM CLASS CLEAN CLEAR CLERK CLIFF CLIMB CLOCK CLOSE CLOTH CLOUD CLOVE CLOWN COACH COAST COBRA COCOA CORAL
        COUCH COUNT COURT COVER CRANE CRATE CREAM CREEK CREST CROWD CROWN CRUST CURVE CYCLE DAILY DAIRY DAISY DANCE
        DELTA DEPTH DINER DOUGH DOZEN DRAFT DRAMA DREAM DRESS DRIED DRIFT DRINK DRIVE EAGER EAGLE EARLY EARTH EASEL
        EIGHT ELBOW EMPTY ENJOY ENTER EQUAL EVENT EVERY EXACT EXTRA FABLE FAITH FANCY FEAST FENCE FERRY FEVER FIBER
        FIELD FIFTH FIFTY FINAL FIRST FLAME FLASH FLEET FLOAT FLOUR FLUTE FOCUS FORCE FORTY FORUM FOUND FRAME FRESH
        FRONT FROST FRUIT FUNNY GIANT GLASS GLOBE GLOVE GRACE GRADE GRAIN GRAND GRAPE GRAPH GRASS GREAT GREET GROUP
        GUARD GUESS GUEST GUIDE HABIT HAPPY HARSH HAZEL HEARD HEART HEAVY HEDGE HELLO HERON HOBBY HONEY HORSE HOTEL
        HOUSE HUMAN HUMOR IDEAL IMAGE INDEX INNER INPUT IVORY JELLY JEWEL JOINT JUDGE JUICE KAYAK KNIFE KNOCK KOALA
        LABEL LARGE LASER LATER LAUGH LAYER LEARN LEMON LEVEL LIGHT LILAC LIMIT LINEN LLAMA LOCAL LUCKY LUNCH MAGIC
        MAJOR MAPLE MARCH MATCH MAYBE MAYOR MEDAL MELON MERCY MERRY METAL METER MIGHT MINOR MIXED MODEL MONEY MONTH
        MOTOR MOUNT MOUSE MOUTH MOVIE MUSIC NERVE NEVER NIGHT NINTH NOBLE NOISE NORTH NOVEL NURSE OASIS OCEAN OFFER
        OFTEN OLIVE ONION OPERA ORBIT ORDER ORGAN OTHER OTTER OUTER OWNER PAINT PANDA PANEL PAPER PARTY PASTA PATCH
        PEACE PEACH PEARL PEDAL PENNY PHONE PHOTO PIANO PILOT PIZZA PLACE PLAIN PLANE PLANT PLATE PLAZA POINT POLAR
        PORCH POUND POWER PRESS PRICE PRIDE PRIZE PROUD PULSE PUPIL PUPPY PURSE QUACK QUEEN QUICK QUIET QUILT QUITE
        QUOTE RADAR RADIO RAISE RANCH RANGE RAPID RAVEN REACH READY REALM REPLY RIDER RIGHT RIVER ROAST ROBIN ROBOT
        ROUND ROUTE ROYAL RULER SALAD SAUCE SCALE SCARF SCENE SCENT SCOUT SERVE SEVEN SHADE SHAPE SHARE SHARK SHARP
        SHEEP SHEET SHELF SHELL SHINE SHIRT SHORE SHORT SIXTY SKATE SKILL SKIRT SLATE SLEEP SLICE SLIDE SLOPE SMALL
        SMART SMILE SMOKE SNACK SNAIL SNAKE SOLAR SOLID SOLVE SOUND SOUTH SPACE SPARK SPEAK SPEED SPELL SPICE SPORT
        SQUID STAFF STAGE STAIR STAMP STAND START STATE STEAM STEEL STICK STILL STONE STORE STORK STORM STORY STOVE
        STRAW STUDY STYLE SUGAR SUNNY SWEET SWING TABLE TEACH TENTH THANK THEIR THERE THICK THING THINK THIRD THREE
        TIGER TITLE TOAST TODAY TOKEN TOPIC TORCH TOTAL TOUCH TOWEL TOWER TRACE TRACK TRADE TRAIL TRAIN TREAT TREND
        TRUCK TRULY TRUNK TRUST TRUTH TULIP TUTOR TWICE UNCLE UNDER UNION UNITY UNTIL UPPER URBAN USUAL VALID VALUE
        VAULT VERSE VIDEO VIOLA VISIT VITAL VOICE WAGON WAIST WALTZ WATCH WATER WHALE WHEAT WHEEL WHERE WHICH WHILE
        WHITE WHOLE WINDY WOMAN WORLD WORTH WOULD WRITE YACHT YIELD YOUNG YOUTH ZEBRA
    """,
}


@cache
def words() -> tuple[str, ...]:
    """Return every word, upper case, shortest first and in alphabetical order within a length."""
    return tuple(word for packed in _WORDS.values() for word in packed.split())


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Load the bold monospaced font at a size in pixels."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONT), size)


def word_size(word: str) -> int:
    """Return the default font size of a word, which leaves room to move it on the canvas."""
    if len(word) not in _DEFAULT_SIZES:
        raise ValueError(f"no default size for the word {word!r}: expected 2 to 5 letters, so give a size")
    return _DEFAULT_SIZES[len(word)]


def word_box(
    word: str, *, size: int | None = None, dx: int = 0, dy: int = 0, canvas: int = CANVAS
) -> tuple[int, int, int, int]:
    """Return the half-open pixel box (x0, y0, x1, y1) of a word's ink, which may lie outside the canvas."""
    size = size or word_size(word)
    x, y = _origin(word, size, canvas)
    left, top, right, bottom = _ink(word.upper(), size)
    return x + dx + left, y + dy + top, x + dx + right, y + dy + bottom


def room(word: str, *, size: int | None = None, canvas: int = CANVAS) -> tuple[int, int]:
    """Return the largest |dx| and |dy| that keep a word on the canvas; negative where it does not fit at all."""
    x0, y0, x1, y1 = word_box(word, size=size, canvas=canvas)
    return min(x0, canvas - x1), min(y0, canvas - y1)


def draw_word(
    image: Image.Image | int,
    word: str,
    *,
    size: int | None = None,
    colour: Colour = WHITE,
    background: Colour | None = None,
    dx: int = 0,
    dy: int = 0,
) -> Image.Image:
    """Draw a word in capitals, dx pixels right of and dy below the centre of a square picture, and return the picture.

    `image` is drawn upon as it is (filled with `background` first where one is given); an int is the side of a new
    picture, `BACKGROUND` unless told otherwise. `size` defaults to `word_size(word)`. Raises ValueError where the
    word would leave the picture.
    """
    if isinstance(image, int):
        image = Image.new("RGB", (image, image), background or BACKGROUND)
    elif background is not None:
        image.paste(background, (0, 0, *image.size))
    size = size or word_size(word)
    x0, y0, x1, y1 = word_box(word, size=size, dx=dx, dy=dy, canvas=image.width)
    if min(x0, y0) < 0 or x1 > image.width or y1 > image.height:
        raise ValueError(
            f"the word {word!r} at {size} px does not fit: its box is {(x0, y0, x1, y1)}, the picture is "
            f"{image.width}x{image.height}; use a smaller size or a smaller shift"
        )
    x, y = _origin(word, size, image.width)
    ImageDraw.Draw(image).text((x + dx, y + dy), word.upper(), font=font(size), fill=colour, anchor="ls")
    return image


def _origin(word: str, size: int, canvas: int) -> tuple[int, int]:
    """Return where the baseline starts: ink centred across, height of capitals centred down (so Q hangs lower)."""
    left, _, right, _ = _ink(word.upper(), size)
    _, top, _, bottom = _ink("H", size)
    return round((canvas - left - right) / 2), round((canvas - top - bottom) / 2)


@cache
def _ink(text: str, size: int) -> tuple[int, int, int, int]:
    """Return the box of the inked pixels from the start of the baseline (the font's own box counts margins)."""
    scratch = Image.new("L", (size * (len(text) + 2), size * 3))
    ImageDraw.Draw(scratch).text((size, size * 2), text, fill=255, font=font(size), anchor="ls")
    box = scratch.getbbox()
    if box is None:
        raise ValueError(f"the word {text!r} has no ink: expected letters")
    return box[0] - size, box[1] - size * 2, box[2] - size, box[3] - size * 2
