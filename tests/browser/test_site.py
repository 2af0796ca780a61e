"""The documentation site as a reader opens it: nothing from the network, a search that finds, light and
dark"""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import REQUIRED, SHOTS

site = Path(__file__).parents[2] / '_docs'


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        "Requests are of no interest"


@pytest.fixture(scope='module')
def address():
    if not (site / 'index.html').exists():
        assert not REQUIRED, 'the site is missing: make docs'
        pytest.skip('no site was built: make docs')
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Silent, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.fixture
def page(browser, address):
    "A page that notes what it is refused: addresses elsewhere, files that are missing, scripts that fail"
    context = browser.new_context(viewport=dict(width=1300, height=900))
    page, page.wrong = context.new_page(), []
    page.on(
        'request',
        lambda r: page.wrong.append(r.url) if not r.url.startswith((address, 'data:', 'blob:')) else None,
    )
    page.on('response', lambda r: page.wrong.append(f'{r.status} {r.url}') if r.status >= 400 else None)
    page.on('pageerror', lambda e: page.wrong.append(str(e)))
    yield page
    context.close()


def test_every_page_opens_from_its_own_files(page, address):
    names = sorted(p.relative_to(site).as_posix() for p in site.rglob('*.html'))
    assert len(names) > 50
    for name in names:
        page.goto(f'{address}/{name}')
        assert page.locator('h1').first.inner_text().strip(), name
        wide = page.evaluate('document.documentElement.scrollWidth-innerWidth')
        assert wide <= 0, f'{name} is {wide} pixels wider than the window'
        assert not page.wrong, f'{name}: {page.wrong}'


def test_search_finds_a_class(page, address):
    page.goto(f'{address}/index.html')
    box = page.locator('input[type=search], .smalldocs-search input, input[placeholder=Search]').first
    box.click()
    box.type('MaterializedQRelConfig')
    page.wait_for_selector('.smalldocs-search-results a')
    links = page.locator('.smalldocs-search-results a').all()
    assert any('data.qrel_config' in link.get_attribute('href') for link in links)


def test_dark(page, address):
    page.goto(f'{address}/tutorials/lab.html')
    light = page.evaluate('getComputedStyle(document.body).backgroundColor')
    page.locator('.quarto-color-scheme-toggle').first.click()
    page.wait_for_function(f"getComputedStyle(document.body).backgroundColor!='{light}'")
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=str(SHOTS / 'site_dark.png'), full_page=True)


def test_a_module_page_has_signatures_tables_and_source(page, address):
    page.goto(f'{address}/modeling.losses.html')
    text = page.locator('main').inner_text()
    assert 'RetrievalLoss.from_model_args(' in text and 'temperature_learnable' in text
    assert page.locator('#retrievalloss').count() == 1
    page.locator('summary', has_text='Source').nth(1).click()
    page.wait_for_function("document.querySelector('main').innerText.includes('class RetrievalLoss')")
