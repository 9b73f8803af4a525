@echo off
rem Installs the screening program into the folder venv beside this file, without a network, and tests it.
setlocal
{% if facts.rehearsal %}
echo {{ rehearsal }}
{% endif %}
cd /d "%~dp0"
set PIP_CONFIG_FILE=NUL
set PYTHON=
{% for version in runner.python %}
py -{{ version }} -c "import sys" >nul 2>nul && set PYTHON=py -{{ version }}
{% endfor %}
if not defined PYTHON (
    echo NOT INSTALLED: it needs Python {{ runner.python | join(" or ") }}, which is not here.
    echo It comes from python.org: the installer for Windows, 64 bit.
    exit /b 1
)
echo Installing into "%cd%\venv" ...
%PYTHON% -m venv --clear venv
if errorlevel 1 (
    echo NOT INSTALLED: the folder venv could not be made here.
    echo Copy the bundle to the computer's own disk with 1 GB free, then run this again.
    exit /b 1
)
venv\Scripts\python -m pip --isolated install --quiet --disable-pip-version-check --no-index --find-links wheels --require-hashes --no-deps -r requirements.txt
if errorlevel 1 (
    echo NOT INSTALLED: a file in the folder wheels is damaged or missing, or the disk is full.
    echo Copy the bundle again, then run this again.
    exit /b 1
)
venv\Scripts\python screen.pyz --selftest
if errorlevel 1 (
    echo NOT INSTALLED: the self-test failed. Do not use it here; see START-HERE.txt.
    exit /b 1
)
echo.
echo Installed. To screen radiographs, in this folder:
echo     venv\Scripts\python screen.pyz RADIOGRAPHS --csv results.csv
